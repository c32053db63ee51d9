//! `/metrics`: what is counted, in the OpenMetrics text that Prometheus reads. The table below is
//! the one place where a metric is named; no label ever holds anything of a user's.

use super::answer::ApiError;
use super::app::App;
use super::reads;
use crate::outside::{Outside, Tally};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ebbtide_core::{
    AgentStatus, AgentWeight, CopyView, Counter, Health, IdentitySource, MachineStatus, NameStatus,
    NodeCounters, NodeSlot, NodeStatus, PAUSE_CLASSES_US, Pauses, PoolSlot, PoolStatus, PoolView,
    Protocol, Reasons, SHARE_WHOLE, ServerName, ServerSlot, ServerStatus, Snapshot,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

const PREFIX: &str = "ebbtide";
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scrape is made from.
struct Scrape {
    status: Arc<NodeStatus>,
    snapshot: Arc<Snapshot>,
    node: Arc<NodeCounters>,
    outside: Arc<Outside>,
    store_failures: u64,
    version: &'static str,
    start_seconds: u64,
}

type Labels = Vec<(&'static str, String)>;
type PoolPauses = (&'static str, fn(&PoolSlot) -> &Pauses);
type PoolFigure = (&'static str, fn(&PoolSlot) -> &Counter);
type Samples = Vec<(Labels, u64)>;

/// One metric: every sample of it comes from `read`.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    unit: Option<&'static Unit>,
    kind: MetricType,
    labels: &'static str,
    help: &'static str,
    read: fn(&Scrape) -> Samples,
}

const fn counter(
    name: &'static str,
    labels: &'static str,
    help: &'static str,
    read: fn(&Scrape) -> Samples,
) -> Family {
    Family {
        name,
        unit: None,
        kind: MetricType::Counter,
        labels,
        help,
        read,
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static str,
    help: &'static str,
    read: fn(&Scrape) -> Samples,
) -> Family {
    let kind = MetricType::Gauge;
    Family {
        kind,
        ..counter(name, labels, help, read)
    }
}

const fn in_unit(unit: &'static Unit, family: Family) -> Family {
    Family {
        unit: Some(unit),
        ..family
    }
}

const SERVER: &str = "pool, server";

#[rustfmt::skip] // one metric on each line reads as the table that it is
static FAMILIES: &[Family] = &[
    counter("server_requests", SERVER, "Requests sent to the server; a retry counts again", |s| s.of_servers(|slot| &slot.requests)),
    counter("server_responses", "pool, server, class", "Responses of the server, by their first digit", Scrape::responses),
    counter("server_connect_failures", SERVER, "Connections to the server that could not be made", |s| s.of_servers(|slot| &slot.connect_failures)),
    counter("server_exchanges_broken", SERVER, "Exchanges that broke after bytes had left for the server", |s| s.of_servers(|slot| &slot.broken)),
    counter("server_timeouts", SERVER, "Exchanges that ran into a time limit of the server's side", |s| s.of_servers(|slot| &slot.timeouts)),
    counter("server_retries", SERVER, "Requests tried a second time after failing on this server", |s| s.of_servers(|slot| &slot.retries)),
    in_unit(&Unit::Bytes, counter("server_sent", SERVER, "Body and tunnel bytes towards the server", |s| s.of_servers(|slot| &slot.bytes_up))),
    in_unit(&Unit::Bytes, counter("server_received", SERVER, "Body and tunnel bytes from the server, towards clients", |s| s.of_servers(|slot| &slot.bytes_down))),
    gauge("server_connections", SERVER, "Connections to the server that are open, idle ones included", |s| s.of_servers(|slot| &slot.connections)),
    gauge("server_tunnels", SERVER, "Tunnels (WebSockets and other upgrades) and connections of a TCP or NBD pool that are open", |s| s.of_servers(|slot| &slot.tunnels)),
    counter("server_redirects", SERVER, "Requests whose users were led to the server's own address", |s| s.of_servers(|slot| &slot.redirects)),
    gauge("server_sessions", "pool, server, state", "Sessions, active and idle", Scrape::sessions),
    gauge("server_up", SERVER, "1 if the server is healthy, or taken to be", |s| s.of_status(|server| u64::from(up(server.health)))),
    gauge("server_admits_new", SERVER, "1 if new sessions may begin on the server", |s| s.of_status(|server| u64::from(server.standing.admits_new))),
    gauge("server_serves_own", SERVER, "1 if the server serves the sessions it has", |s| s.of_status(|server| u64::from(server.standing.serves_own))),
    gauge("server_intent", "pool, server, intent", "1 for what the operator wants of the server", |s| s.of_labels("intent", |server| server.intent.label)),
    gauge("server_standing", "pool, server, reason", "1 for the reason behind the server's standing", |s| s.of_labels("reason", |server| server.standing.reason.label())),
    gauge("server_share_percent", SERVER, "What the server gets of the new sessions that it would get without a slow start: 100, unless it comes back", |s| s.of_status(|server| u64::from(server.returning.map_or(SHARE_WHOLE, |returning| returning.share)))),
    gauge("server_load_percent", SERVER, "How busy the server's machine is, where its exporter tells", |s| s.of_machines(|machine| machine.load.map(|load| u64::from(load.percent())))),
    counter("server_lost", SERVER, "Requests and connections that the server left without an answer", |s| s.of_servers(|slot| &slot.lost)),
    counter("server_cut_short", SERVER, "Answers that the server broke off, and connections of a TCP pool that it ended at once", |s| s.of_servers(|slot| &slot.cut_short)),
    gauge("server_sick", SERVER, "1 if much more of the server's traffic fails, or is slow, than of its pool's, whether it is held for that or not", |s| s.of_status(|server| u64::from(server.sickness.is_some()))),
    gauge("server_latency_milliseconds", SERVER, "Half of the server's answers began within so long, in the last window in which traffic was watched", Scrape::latencies),
    gauge("server_metrics", SERVER, "1 if the load of the server's machine can be read, 0 if there are no metrics; of servers with an exporter", |s| s.of_machines(|machine| Some(u64::from(machine.no_metrics.is_none())))),
    gauge("server_agent", SERVER, "1 if the server's agent can be asked, 0 if there is no agent; of servers with one", |s| s.of_agents(|agent| Some(u64::from(agent.no_agent.is_none())))),
    gauge("server_agent_weight_percent", SERVER, "The share of its weight that the server's agent asks for, as it counts", |s| s.of_agents(|agent| match agent.weight {
        Some(AgentWeight::Percent(percent)) => Some(u64::from(percent)),
        _ => None,
    })),
    counter("pool_requests", "pool", "Requests that came in; connections, of a TCP or NBD pool", |s| s.of_pools(&[("", |slot| &slot.requests)])),
    counter("pool_sessions_refused", "pool, reason", "New sessions refused: every server full, none admits any, the pool is closed, or for operators only", |s| s.of_pools(&[
        ("full", |slot| &slot.refused_full), ("unavailable", |slot| &slot.refused_unavailable),
        ("closed", |slot| &slot.refused_closed), ("operators-only", |slot| &slot.refused_operators_only),
    ])),
    counter("pool_gateway_errors", "pool", "Answers that Ebbtide gave for a server that failed (502 and 504)", |s| s.of_pools(&[("", |slot| &slot.gateway_errors)])),
    counter("pool_tokens_refused", "pool, reason", "Session tokens that were not honoured, by reason", |s| s.of_pools(&[
        ("malformed", |slot| &slot.tokens_malformed), ("forged", |slot| &slot.tokens_forged),
        ("other-pool", |slot| &slot.tokens_other_pool), ("expired", |slot| &slot.tokens_expired),
        ("old-epoch", |slot| &slot.tokens_old_epoch), ("ended", |slot| &slot.tokens_ended),
    ])),
    counter("pool_doors_refused", "pool", "Doors and addresses of doors that led nowhere", |s| s.of_pools(&[("", |slot| &slot.doors_refused)])),
    counter("pool_connections_ended", "pool, reason", "Connections of a TCP or NBD pool that have ended: closed by both sides, broken off by one, silent for too long, cut because their time was over, or without a server that could be connected to", |s| s.of_pools(&[
        ("closed", |slot| &slot.connections_closed), ("broken", |slot| &slot.connections_broken),
        ("silent", |slot| &slot.connections_silent), ("cut", |slot| &slot.connections_cut),
        ("unreachable", |slot| &slot.connections_unreachable),
    ])),
    counter("pool_sessions_moved", "pool", "Sessions that moved to another server: it was gone, or could not serve them any more, or an operator wished it", |s| s.of_pools(&[("", |slot| &slot.sessions_moved)])),
    counter("notice_injected", "pool", "Pages that were given the banner's script while a notice stood", |s| s.of_pools(&[("", |slot| &slot.injected)])),
    counter("notice_not_injected", "pool, reason", "Pages that were passed on as they came while a notice stood, by reason", |s| s.of_pools(&[
        ("encoded", |slot| &slot.not_injected_encoded), ("partial", |slot| &slot.not_injected_partial),
        ("charset", |slot| &slot.not_injected_charset), ("attachment", |slot| &slot.not_injected_attachment),
        ("no-transform", |slot| &slot.not_injected_no_transform), ("policy", |slot| &slot.not_injected_policy),
        ("not-html", |slot| &slot.not_injected_not_html), ("unreadable", |slot| &slot.not_injected_unreadable),
    ])),
    counter("pool_resumed", "pool", "Times that another server went on with an answer that one had begun", |s| s.of_pools(&[("", |slot| &slot.resumed)])),
    counter("pool_not_resumed", "pool, reason", "What kept answers that broke off from being gone on with: a copy without a strong validator or a length, no other server that admits, too many in a row, or a server that was asked and could not be reached, gave another status, has another copy, or sent another part", |s| s.of_pools(&[
        ("unidentified", |slot| &slot.not_resumed_unidentified), ("no-server", |slot| &slot.not_resumed_no_server),
        ("too-often", |slot| &slot.not_resumed_too_often), ("unreachable", |slot| &slot.not_resumed_unreachable),
        ("status", |slot| &slot.not_resumed_status), ("differs", |slot| &slot.not_resumed_differs),
        ("range", |slot| &slot.not_resumed_range),
    ])),
    gauge("pool_servers_admitting", "pool", "Servers that admit new sessions", |s| s.of_pool_status(|pool| pool.admitting)),
    gauge("pool_servers_minimum", "pool", "Servers that must go on admitting", |s| s.of_pool_status(|pool| pool.minimum)),
    gauge("name_addresses", "pool, name", "Addresses of the name that are servers, by its last answer that had any", |s| s.of_names(|name| u64::from(name.addresses))),
    gauge("name_well", "pool, name", "1 if nothing is wrong with the name's newest answer, 0 otherwise; of names whose addresses are servers", |s| s.of_names(|name| u64::from(name.trouble.is_none()))),
    gauge("pool_copies", "pool, stands_in", "Copies of resources that may stand in for others and whose servers take sessions over (yes), or not (no)", Scrape::copies),
    in_unit(&Unit::Bytes, counter("server_identity_read", SERVER, "Read of the server's copies by Ebbtide itself, to know which are identical (`identity = \"read\"`)", Scrape::identity_read)),
    counter("logout_calls", "pool, outcome", "Calls that log users out of the application: done, refused by it, failed, timeout, dropped because too many waited, or not made as the user had no cookies (or over 4 KiB of them)", |s| of_tally("pool", &s.outside.logout_calls)),
    counter("webhook_deliveries", "webhook, outcome", "Events told to webhooks: delivered, refused, failed at every try, or dropped because too many waited", |s| of_tally("webhook", &s.outside.webhooks.tally)),
    gauge("generation", "", "The newest snapshot's number", |s| one(s.status.generation)),
    gauge("generation_acknowledged", "", "The oldest snapshot that a worker still decides by", |s| one(s.status.acknowledged)),
    gauge("client_connections", "", "Client connections that are open", |s| one(s.node.sum(|slot| &slot.connections))),
    counter("client_connections_accepted", "", "Client connections accepted", |s| one(s.node.sum(|slot| &slot.accepted))),
    counter("requests_rejected", "reason", "Requests refused as malformed, ambiguous or not allowed, or because servers are lost over them, by reason; of NBD also options and exports that are not to be had", |s| s.by_reason(|slot| &slot.rejected)),
    counter("answers_rejected", "reason", "Answers of NBD servers that were none, by reason: each time the server was given up", |s| s.by_reason(|slot| &slot.answers_rejected)),
    counter("access_log_dropped", "", "Access log lines dropped because the log could not keep up", |s| one(s.node.sum(|slot| &slot.log_dropped))),
    counter("store_failures", "", "Commits that the store could not make", |s| one(s.store_failures)),
    gauge("build_info", "version", "1, labelled with the program's version", |s| vec![(vec![("version", s.version.to_owned())], 1)]),
    in_unit(&Unit::Seconds, gauge("start_time", "", "When the program started, since 1970", |s| one(s.start_seconds))),
];

const PAUSES: &str = "pool_session_pause";
const PAUSES_HELP: &str = "For how long sessions that went on with another server had none to ask: those that were moved in order (move), and those whose server was lost (failure)";

fn one(value: u64) -> Samples {
    vec![(Vec::new(), value)]
}

/// What was counted outside the data plane, by name and outcome.
fn of_tally(name: &'static str, tally: &Tally) -> Samples {
    let counts = tally.read().into_iter();
    counts
        .map(|((named, outcome), count)| {
            let labels = vec![(name, named), ("outcome", outcome.to_owned())];
            (labels, count)
        })
        .collect()
}

fn up(health: Health) -> bool {
    !matches!(health, Health::Down | Health::Starting)
}

fn name_server(pool: &str, server: &str) -> Labels {
    vec![("pool", pool.to_owned()), ("server", server.to_owned())]
}

impl Scrape {
    fn of_servers(&self, figure: fn(&ServerSlot) -> &Counter) -> Samples {
        let pools = self.snapshot.pools.iter();
        let samples = pools.flat_map(|pool| {
            pool.servers.iter().chain(&pool.removed).map(move |server| {
                let labels = name_server(&pool.config.name, &server.name);
                (labels, server.counters.sum(figure))
            })
        });
        samples.collect()
    }

    fn responses(&self) -> Samples {
        let mut samples = Samples::new();
        for (index, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            for pool in &self.snapshot.pools {
                for server in pool.servers.iter().chain(&pool.removed) {
                    let mut labels = name_server(&pool.config.name, &server.name);
                    labels.push(("class", (*class).to_owned()));
                    let count = server.counters.sum(|slot| &slot.responses[index]);
                    samples.push((labels, count));
                }
            }
        }
        samples
    }

    fn servers(&self) -> impl Iterator<Item = (&PoolStatus, &ServerStatus)> {
        let pools = self.status.pools.iter();
        pools.flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
    }

    fn sessions(&self) -> Samples {
        let samples = self.servers().flat_map(|(pool, server)| {
            [("active", server.active), ("idle", server.idle)].map(|(state, count)| {
                let mut labels = name_server(&pool.name, &server.name);
                labels.push(("state", state.to_owned()));
                (labels, u64::from(count))
            })
        });
        samples.collect()
    }

    fn of_status(&self, figure: fn(&ServerStatus) -> u64) -> Samples {
        let samples = self.servers().map(|(pool, server)| {
            let labels = name_server(&pool.name, &server.name);
            (labels, figure(server))
        });
        samples.collect()
    }

    /// Of the servers whose machines are read, if it is known.
    fn of_machines(&self, figure: fn(&MachineStatus) -> Option<u64>) -> Samples {
        let samples = self.servers().filter_map(|(pool, server)| {
            let labels = name_server(&pool.name, &server.name);
            Some((labels, figure(server.machine.as_ref()?)?))
        });
        samples.collect()
    }

    /// Of the names whose addresses are servers.
    fn of_names(&self, figure: fn(&NameStatus) -> u64) -> Samples {
        let pools = self.status.pools.iter();
        let samples = pools.flat_map(|pool| {
            pool.names.iter().map(move |name| {
                let labels = vec![("pool", pool.name.clone()), ("name", name.name.clone())];
                (labels, figure(name))
            })
        });
        samples.collect()
    }

    /// Of the servers whose agents are asked, if it is known.
    fn of_agents(&self, figure: fn(&AgentStatus) -> Option<u64>) -> Samples {
        let samples = self.servers().filter_map(|(pool, server)| {
            let labels = name_server(&pool.name, &server.name);
            Some((labels, figure(server.agent.as_ref()?)?))
        });
        samples.collect()
    }

    /// Of the servers that have answered lately.
    fn latencies(&self) -> Samples {
        let samples = self.servers().filter_map(|(pool, server)| {
            let labels = name_server(&pool.name, &server.name);
            Some((labels, server.traffic?.median_ms?))
        });
        samples.collect()
    }

    fn of_labels(&self, label: &'static str, text: fn(&ServerStatus) -> &'static str) -> Samples {
        let samples = self.servers().map(|(pool, server)| {
            let mut labels = name_server(&pool.name, &server.name);
            labels.push((label, text(server).to_owned()));
            (labels, 1)
        });
        samples.collect()
    }

    /// Figures of every pool, each with its reason (none where that is empty).
    fn of_pools(&self, figures: &[PoolFigure]) -> Samples {
        let mut samples = Samples::new();
        for pool in &self.snapshot.pools {
            for (reason, figure) in figures {
                let mut labels = vec![("pool", pool.config.name.clone())];
                if !reason.is_empty() {
                    labels.push(("reason", (*reason).to_owned()));
                }
                samples.push((labels, pool.counters.sum(figure)));
            }
        }
        samples
    }

    fn copies(&self) -> Samples {
        let mut samples = Samples::new();
        for pool in &self.snapshot.pools {
            let resources = pool.replicas.resources.iter();
            let stands_in = |copy: &CopyView| match pool.server(copy.server) {
                Some(server) => copy.verdict_within(server.standing).stands_in,
                None => false,
            };
            let copies: Vec<bool> = resources
                .flat_map(|resource| &resource.copies)
                .map(stands_in)
                .collect();
            for (word, stands_in) in [("yes", true), ("no", false)] {
                let labels = vec![
                    ("pool", pool.config.name.clone()),
                    ("stands_in", word.to_owned()),
                ];
                let count = copies.iter().filter(|copy| **copy == stands_in).count();
                samples.push((labels, count as u64));
            }
        }
        samples
    }

    /// Of the servers whose copies are read.
    fn identity_read(&self) -> Samples {
        let is_read = |pool: &&Arc<PoolView>| pool.config.replicas.source == IdentitySource::Read;
        let pools = self.snapshot.pools.iter().filter(is_read);
        let samples = pools.flat_map(|pool| {
            pool.servers.iter().map(|server| {
                let name = ServerName::new(pool.config.name.as_str(), &*server.name);
                let labels = name_server(&name.pool, &name.server);
                (labels, self.outside.bytes_read.of(&name))
            })
        });
        samples.collect()
    }

    fn of_pool_status(&self, figure: fn(&PoolStatus) -> u32) -> Samples {
        let pools = self.status.pools.iter();
        let samples = pools.map(|pool| {
            let labels = vec![("pool", pool.name.clone())];
            (labels, u64::from(figure(pool)))
        });
        samples.collect()
    }

    fn by_reason(&self, of: fn(&NodeSlot) -> &Mutex<Reasons>) -> Samples {
        let mut sums = Reasons::new();
        for slot in self.node.slots() {
            let counted = of(slot).lock();
            for (reason, count) in &*counted.unwrap_or_else(PoisonError::into_inner) {
                *sums.entry(reason).or_default() += count;
            }
        }
        let samples = sums
            .into_iter()
            .map(|(reason, count)| (vec![("reason", reason.to_owned())], count));
        samples.collect()
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, family.unit, family.kind)?;
            for (labels, value) in (family.read)(self) {
                if labels.is_empty() {
                    write(&mut metric, family.kind, value)?;
                } else {
                    write(&mut metric.encode_family(&labels)?, family.kind, value)?;
                }
            }
        }
        self.encode_pauses(&mut encoder)
    }
}

impl Scrape {
    /// The one histogram.
    fn encode_pauses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = MetricType::Histogram;
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor(PAUSES, PAUSES_HELP, unit, kind)?;
        let causes: [PoolPauses; 2] = [
            ("move", |slot| &slot.pauses_move),
            ("failure", |slot| &slot.pauses_failure),
        ];
        let pools = self.snapshot.pools.iter();
        for pool in pools.filter(|pool| pool.config.protocol == Protocol::Nbd) {
            for (cause, of) in causes {
                let ends = PAUSE_CLASSES_US.iter().map(|us| *us as f64 / 1e6);
                let classes: Vec<(f64, u64)> = ends
                    .chain([f64::INFINITY])
                    .enumerate()
                    .map(|(class, end)| (end, pool.counters.sum(|slot| &of(slot).classes[class])))
                    .collect();
                let sum = pool.counters.sum(|slot| &of(slot).sum_us) as f64 / 1e6;
                let count = classes.iter().map(|(_, count)| count).sum();
                let labels = vec![
                    ("pool", pool.config.name.clone()),
                    ("cause", cause.to_owned()),
                ];
                metric
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(sum, count, &classes, None)?;
            }
        }
        Ok(())
    }
}

fn write(sample: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => sample.encode_counter::<NoLabelSet, u64, f64>(&value, None),
        _ => sample.encode_gauge(&value),
    }
}

/// What is counted.
pub(super) async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    let status = reads::ask(&app).await?;
    let scrape = Scrape {
        status,
        snapshot: app.snapshot(),
        node: Arc::clone(&app.node),
        outside: Arc::clone(&app.outside),
        store_failures: app.store_tally.failures.load(Relaxed),
        version: app.version,
        start_seconds: app.started.wall.0 / 1000,
    };
    // Ten thousand servers make a long text; deadlines do not wait for it.
    let text = tokio::task::spawn_blocking(move || {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    });
    match text.await {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, TEXT)], text)),
        _ => Err(ApiError::stopping()),
    }
}

/// The metrics, as a table in Markdown.
pub fn metrics_reference() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let unit = family.unit.map(Unit::as_str);
        let unit = unit.map_or(String::new(), |unit| format!("_{unit}"));
        let (kind, suffix) = match family.kind {
            MetricType::Counter => ("counter", "_total"),
            _ => ("gauge", ""),
        };
        let Family {
            name, labels, help, ..
        } = family;
        text.push_str(&format!(
            "| `{PREFIX}_{name}{unit}{suffix}` | {kind} | {labels} | {help} |\n"
        ));
    }
    text.push_str(&format!(
        "| `{PREFIX}_{PAUSES}_seconds` | histogram | pool, cause | {PAUSES_HELP} |\n"
    ));
    text
}
