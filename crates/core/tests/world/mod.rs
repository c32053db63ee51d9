//! A world for the driver: a store that keeps what it is given, workers that acknowledge when they
//! are told to, sessions and probes by script.
// tidy: allow(long-file): one world for all transcripts
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod agent;
mod load;
mod messages;
mod names;
mod traffic;
mod words;

use ebbtide_core::{
    Actor, Attachment, BlockNew, Close, Command, Config, Digest, Driver, EventKind, Fact, Found,
    Identity, IdentitySource, Input, ListenerConfig, LoadMeasure, LoadSettings, Millis, Mode,
    Moment, MoveOrder, Moved, Now, Output, PeakChange, PoolConfig, ProbeOutcome, Protocol,
    RequestId, ResourceConfig, Restored, RestoredServer, ServerChange, ServerConfig, ServerName,
    SessionId, SessionTable, Snapshot, Stay, UpgradeCheck, VersionAnswer, VersionBefore,
    VersionPage, WallTime, Write,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use words::{by, close, describe, disk, identity, millis, session};

/// The world of one transcript.
pub struct World {
    driver: Driver,
    sessions: Arc<SessionTable>,
    now: Now,
    workers: usize,
    names: Vec<String>,
    health: bool,
    /// The pool is of protocol tcp.
    tcp: bool,
    /// Connections that are open.
    stays: BTreeMap<SessionId, Stay>,
    /// The servers' machines have exporters.
    load: bool,
    /// There are agents on the servers.
    agents: bool,
    /// Names whose addresses are servers.
    entries: Vec<String>,
    peak_load: Option<u8>,
    slow_start: Millis,
    /// Sick servers are held.
    outliers: bool,
    /// Makes the pool one of protocol nbd: the modes of its resources, which are named by them.
    disks: Vec<String>,
    /// Those of them that are in maintenance.
    withdrawn: Vec<String>,
    /// Makes the pool one of HTTP replicas.
    replica: bool,
    /// Answers that another server could go on with.
    downloads: Vec<Stay>,
    upgrade: Option<UpgradeCheck>,
    minimum: u32,
    published: Arc<Snapshot>,
    stored: Vec<Write>,
    on_its_way: Option<(u64, Vec<Write>)>,
    last_request: u64,
}

impl Default for World {
    fn default() -> Self {
        let now = Now {
            moment: Moment(1_000_000),
            wall: WallTime(1_700_000_000_000),
        };
        let sessions = Arc::<SessionTable>::default();
        let config = Arc::<Config>::default();
        let driver = Driver::new(
            config,
            Restored::default(),
            Arc::clone(&sessions),
            "boot-1".into(),
            0,
            now,
        );
        Self {
            driver,
            sessions,
            now,
            workers: 2,
            names: Vec::new(),
            health: true,
            tcp: false,
            stays: BTreeMap::new(),
            load: false,
            agents: false,
            entries: Vec::new(),
            peak_load: None,
            slow_start: Millis(0),
            outliers: false,
            disks: Vec::new(),
            withdrawn: Vec::new(),
            replica: false,
            downloads: Vec::new(),
            upgrade: None,
            minimum: 1,
            published: Arc::default(),
            stored: Vec::new(),
            on_its_way: None,
            last_request: 0,
        }
    }
}

impl World {
    /// Plays one line of a script; returns what was said to it.
    pub fn play(&mut self, script: &str) -> Vec<String> {
        let words: Vec<&str> = script.split_whitespace().collect();
        match words.as_slice() {
            ["start", options @ ..] => self.start(options),
            ["restart", "boot", boot] => self.restart(boot),
            ["stored"] => self.persisted(Ok(())),
            ["not", "stored", why @ ..] => self.persisted(Err(why.join(" "))),
            ["ack", worker] => self.acknowledge(worker),
            ["probe", server, outcome @ ..] => self.probe(server, outcome),
            ["agent", server, says @ ..] => self.hear_agent(server, says),
            ["lookup", name, answer @ ..] => self.look_up(name, answer),
            ["names", names @ ..] => {
                self.entries = names.iter().map(|&name| name.to_owned()).collect();
                Vec::new()
            }
            ["weights"] => self.weights(),
            ["load", server, read @ ..] => self.read_load(server, read),
            ["traffic", server, what @ ..] => self.traffic(server, what),
            ["version", server, says @ ..] => self.version(server, says),
            ["refused", server] => self.refused(server),
            ["begin", id, server] => self.begin(id, server),
            ["connect", id, server] => self.connect(id, server),
            ["disconnect", id] => self.disconnect(id),
            ["list"] => self.list(),
            ["withdraw", resource] => self.withdraw(resource),
            ["download", id] => self.download(id),
            ["downloaded"] => {
                self.downloads.clear();
                Vec::new()
            }
            ["attach", id, resource, digest] => self.attach(id, resource, digest),
            ["moved", id, server, micros] => self.moved(id, server, micros),
            ["copy", server, resource, digest] => self.copy(server, resource, digest),
            ["use", id] => vec![self.use_session(id)],
            ["logout", id] => self.logout(id),
            ["read", id] => vec![self.read(id)],
            ["dismiss", id] => self.dismiss(id),
            ["wait", span] => self.wait(millis(span)),
            ["wall", step] => self.step_wall(step),
            ["status"] => self.status(),
            _ => self.command(&words),
        }
    }

    /// A node that nothing is stored of.
    fn start(&mut self, options: &[&str]) -> Vec<String> {
        self.names.clear();
        self.disks.clear();
        self.entries.clear();
        self.stored.clear();
        for option in options {
            match option.split_once('=') {
                Some(("workers", count)) => self.workers = count.parse().unwrap(),
                Some(("minimum", count)) => self.minimum = count.parse().unwrap(),
                Some(("health", "off")) => self.health = false,
                Some(("protocol", "tcp")) => self.tcp = true,
                Some(("replica", "on")) => self.replica = true,
                Some(("load", "on")) => self.load = true,
                Some(("agent", "on")) => self.agents = true,
                Some(("name", name)) => self.entries.push(name.to_owned()),
                Some(("slow", span)) => self.slow_start = millis(span),
                Some(("peak", percent)) => self.peak_load = percent.parse().ok(),
                Some(("outliers", word)) => self.outliers = word == "on",
                Some(("disk", mode)) => self.disks.push(mode.to_owned()),
                Some(("upgrade", expect)) => {
                    self.upgrade = Some(UpgradeCheck {
                        path: "/version".into(),
                        expect: Some(expect.into()).filter(|expect: &String| !expect.is_empty()),
                        probes: 2,
                        within: Millis::from_secs(20 * 60),
                    });
                }
                _ => self.names.push((*option).to_owned()),
            }
        }
        self.restart("boot-1")
    }

    fn config(&self, names: &[String]) -> Arc<Config> {
        let mut pool = PoolConfig::new("app");
        pool.minimum = self.minimum;
        pool.upgrade.clone_from(&self.upgrade);
        if !self.health {
            pool.health = None;
        }
        if self.tcp {
            pool.protocol = Protocol::Tcp;
        }
        pool.http.replica = self.replica;
        pool.peak_load = self.peak_load;
        pool.names = self.entries.iter().map(|name| names::entry(name)).collect();
        pool.agent = self.agents.then_some(agent::SETTINGS);
        pool.slow_start = self.slow_start;
        pool.outliers.acts = self.outliers;
        pool.load = self.load.then(|| LoadSettings {
            exporter: "http://{host}/{server}".into(),
            by: LoadMeasure::Greatest,
            sessions_max: None,
            every: Millis::from_secs(5),
            timeout: Millis::from_secs(3),
        });
        if !self.disks.is_empty() {
            pool.protocol = Protocol::Nbd;
            pool.replicas.source = IdentitySource::Manifest;
            pool.replicas.manifest = Some("/srv/{server}.json".into());
            pool.replicas.resources = self.disks.iter().map(|mode| disk(mode)).collect();
            for resource in &mut pool.replicas.resources {
                if self.withdrawn.contains(&resource.name) {
                    resource.mode = Mode::Maintenance;
                }
            }
        }
        pool.servers = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let address = ([127, 0, 0, 1], 9001 + index as u16).into();
                let (name, max) = name.split_once(':').unwrap_or((name, ""));
                let mut server = ServerConfig::new(name, address);
                server.max_sessions = max.parse().ok();
                server
            })
            .collect();
        let listener = ListenerConfig {
            name: "web".into(),
            bind: ([127, 0, 0, 1], 8080).into(),
            pool: "app".into(),
            proxy_from: Vec::new(),
        };
        Arc::new(Config {
            listeners: vec![listener],
            pools: vec![pool],
        })
    }

    fn restart(&mut self, boot: &str) -> Vec<String> {
        self.sessions = Arc::default();
        self.stays.clear();
        self.on_its_way = None;
        self.driver = Driver::new(
            self.config(&self.names),
            self.restored(),
            Arc::clone(&self.sessions),
            boot.to_owned(),
            self.workers,
            self.now,
        );
        self.published = self.driver.snapshot();
        vec![format!("generation {}", self.published.generation)]
    }

    /// What a store would give back of all that was written.
    fn restored(&self) -> Restored {
        let mut servers = BTreeMap::<ServerName, RestoredServer>::new();
        let mut restored = Restored::default();
        for write in &self.stored {
            let mut edit = |name: &ServerName, change: &dyn Fn(&mut RestoredServer)| {
                let known = servers
                    .entry(name.clone())
                    .or_insert_with(|| RestoredServer {
                        name: name.clone(),
                        intent: None,
                        epoch: 0,
                        live: None,
                        set: Default::default(),
                    });
                change(known);
            };
            match write {
                Write::Intent(name, record) => {
                    edit(name, &|server| server.intent = Some(record.clone()));
                }
                Write::PoolIntent(name, record) => {
                    restored.pools.retain(|(other, _)| other != name);
                    restored.pools.push((name.clone(), record.clone()));
                }
                Write::Versions(name, versions) => {
                    restored.versions.retain(|(other, _)| other != name);
                    let versions = versions.iter();
                    let versions = versions.map(|versions| (name.clone(), versions.clone()));
                    restored.versions.extend(versions);
                }
                Write::Epoch(name, epoch) => edit(name, &|server| server.epoch = *epoch),
                Write::LiveServer(name, config) => {
                    edit(name, &|server| server.live = Some(config.clone()));
                }
                Write::Removed(name) => edit(name, &|server| {
                    (server.intent, server.live) = (None, None);
                    server.set = Default::default();
                }),
                Write::Override(name, set) => edit(name, &|server| server.set = *set),
                Write::EndedSession { id, server, .. } => {
                    restored.ended_sessions.push((*id, server.clone()));
                }
                Write::Door(id, record) => {
                    restored.doors.retain(|(known, _)| known != id);
                    restored
                        .doors
                        .extend(record.clone().map(|record| (*id, record)));
                }
                Write::TokenSecrets(secrets) => restored.token_secrets = secrets.clone(),
                Write::Audit(_) => {}
            }
        }
        restored.servers = servers.into_values().collect();
        restored
    }

    fn command(&mut self, words: &[&str]) -> Vec<String> {
        let command = self.parse(words);
        self.last_request += 1;
        let actor = Actor {
            who: "olga".into(),
            from: "test".into(),
            reason: None,
        };
        let id = RequestId(self.last_request);
        self.step(Input::Command { id, actor, command })
    }

    // tidy: allow(long-function): one arm for each command
    fn parse(&self, words: &[&str]) -> Command {
        let force = words.contains(&"force");
        let server = |text: &str| ServerName::parse(text).unwrap();
        match words {
            ["ready", name, ..] => Command::Ready {
                server: server(name),
                force,
            },
            ["hold", name, ..] => Command::Hold {
                server: server(name),
                force,
            },
            ["drain", name, within, ..] => Command::Drain {
                server: server(name),
                within: (*within != "on").then(|| millis(within)),
                message: words.contains(&"words").then(|| "Other words".to_owned()),
                force,
            },
            ["stop", name, within, ..] => Command::Stop {
                server: server(name),
                within: millis(within),
                message: None,
                force,
            },
            ["drill", name, within, how @ ..] => Command::Drill {
                server: server(name),
                cut: how.contains(&"cut"),
                within: millis(within),
            },
            ["move", id] => Command::MoveSession {
                id: session(id),
                to: None,
            },
            ["move", id, name] => Command::MoveSession {
                id: session(id),
                to: Some(server(name)),
            },
            ["maintenance", name, ..] => Command::Maintenance {
                server: server(name),
                force,
            },
            ["close", pool, options @ ..] => Command::Close {
                pool: (*pool).to_owned(),
                close: close(options),
            },
            ["open", pool] => Command::Open {
                pool: (*pool).to_owned(),
            },
            ["rebalance", pool, "stop"] => Command::StopRebalance {
                pool: (*pool).to_owned(),
            },
            ["rebalance", pool, rate] => Command::Rebalance {
                pool: (*pool).to_owned(),
                rate: rate.parse().unwrap(),
            },
            ["forget", name] => Command::Forget {
                server: server(name),
            },
            ["end", ids @ ..] => Command::EndSessions {
                ids: ids.iter().map(|id| session(id)).collect(),
            },
            ["tell", lasting, message, ids @ ..] => Command::TellSessions {
                ids: ids.iter().map(|id| session(id)).collect(),
                message: words::unescaped(message),
                lasting: millis(lasting),
            },
            ["add", name, port] => {
                let name = server(name);
                let address = ([127, 0, 0, 1], port.parse().unwrap()).into();
                Command::AddServer {
                    pool: name.pool,
                    server: ServerConfig::new(name.server, address),
                }
            }
            ["remove", name, ..] => Command::RemoveServer {
                server: server(name),
                force,
            },
            ["set", name, weight, max] => Command::SetServer {
                server: server(name),
                change: ServerChange {
                    weight: weight.parse().ok(),
                    max_sessions: max.parse().ok().map(Some),
                    ..ServerChange::default()
                },
            },
            ["peak", name, peak, ..] => Command::SetServer {
                server: server(name),
                change: ServerChange {
                    peak_load: Some(match *peak {
                        "none" => PeakChange::None,
                        "back" => PeakChange::Back,
                        percent => PeakChange::Percent(percent.parse().unwrap()),
                    }),
                    force,
                    ..ServerChange::default()
                },
            },
            ["set", name, "slow_start=now"] => Command::SetServer {
                server: server(name),
                change: ServerChange {
                    slow_start_over: true,
                    ..ServerChange::default()
                },
            },
            ["reset", name] => Command::SetServer {
                server: server(name),
                change: ServerChange {
                    reset: true,
                    ..ServerChange::default()
                },
            },
            ["reload", "outliers=off", names @ ..] => {
                let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
                let mut config = Config::clone(&self.config(&names));
                config.pools[0].outliers.acts = false;
                Command::Reload {
                    config: Arc::new(config),
                    beside: Vec::new(),
                }
            }
            ["reload", names @ ..] => {
                let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
                Command::Reload {
                    config: self.config(&names),
                    beside: Vec::new(),
                }
            }
            other => panic!("the script says {other:?}, which means nothing"),
        }
    }

    fn persisted(&mut self, result: Result<(), String>) -> Vec<String> {
        let Some((ticket, writes)) = self.on_its_way.take() else {
            return vec!["nothing is on its way".into()];
        };
        if result.is_ok() {
            self.stored.extend(writes);
        }
        self.step(Input::Persisted { ticket, result })
    }

    fn acknowledge(&mut self, worker: &str) -> Vec<String> {
        let workers = match worker {
            "all" => 0..self.workers,
            one => one.parse().map(|one: usize| one..one + 1).unwrap(),
        };
        let generation = self.published.generation;
        workers
            .flat_map(|worker| self.step(Input::Fact(Fact::Acknowledged { worker, generation })))
            .collect()
    }

    fn probe(&mut self, server: &str, outcome: &[&str]) -> Vec<String> {
        let outcome = match outcome {
            ["good"] => ProbeOutcome::Good { places: None },
            ["places", places] => ProbeOutcome::Good {
                places: places.parse().ok(),
            },
            ["hold"] => ProbeOutcome::OnHold,
            ["full"] => ProbeOutcome::AllInUse,
            why => ProbeOutcome::Bad(why.join(" ")),
        };
        let server = ServerName::parse(server).unwrap();
        let pool = self.published.pool_named("app").unwrap();
        let view = pool
            .servers
            .iter()
            .find(|view| *view.name == *server.server);
        let admitted = view.map_or(0, |view| view.load.places.admitted());
        let began = self.now.moment;
        let mut said = self.step(Input::Probed {
            server,
            outcome,
            admitted,
            began,
        });
        said.extend(self.step(Input::Tick));
        said
    }

    /// `version app/web1 v1`, or `version app/web1 fails why`.
    fn version(&mut self, server: &str, says: &[&str]) -> Vec<String> {
        let answer = match says {
            ["fails", why @ ..] => VersionAnswer::Failed(why.join(" ")),
            says => {
                let says = says.join(" ");
                let expect = self
                    .upgrade
                    .as_ref()
                    .and_then(|check| check.expect.as_ref());
                VersionAnswer::Page {
                    matches: expect.is_none_or(|expect| says.contains(expect)),
                    page: VersionPage {
                        digest: says.clone(),
                        says,
                    },
                }
            }
        };
        let server = ServerName::parse(server).unwrap();
        let mut said = self.step(Input::Version { server, answer });
        said.extend(self.step(Input::Tick));
        said
    }

    fn refused(&mut self, server: &str) -> Vec<String> {
        let pool = self.published.pool_named("app").unwrap();
        let (_, name) = server.split_once('/').unwrap();
        let server = pool
            .servers
            .iter()
            .find(|view| &*view.name == name)
            .unwrap();
        let (pool, server) = (pool.key, server.key);
        self.step(Input::Fact(Fact::ConnectFailed { pool, server }))
    }

    fn begin(&mut self, id: &str, server: &str) -> Vec<String> {
        let pool = self.published.pool_named("app").unwrap();
        let (_, name) = server.split_once('/').unwrap();
        let view = pool.servers.iter().find(|view| &*view.name == name);
        let Some(view) = view else {
            return vec!["not there".into()];
        };
        if !view.standing.admits_new {
            return vec!["not admitted".into()];
        }
        let client = IpAddr::from([192, 0, 2, 7]);
        let begun = self
            .sessions
            .begin(session(id), pool.key, view, client, None, self.now);
        vec![if begun.is_some() { "begun" } else { "full" }.into()]
    }

    /// A connection, which is a session as long as it is open.
    fn connect(&mut self, id: &str, server: &str) -> Vec<String> {
        let said = self.begin(id, server);
        if let Found::Live(found) = self.sessions.find(session(id)) {
            let mut stay = found.enter(self.now.moment);
            stay.become_tunnel();
            self.stays.insert(found.id, stay);
        }
        said
    }

    fn disconnect(&mut self, id: &str) -> Vec<String> {
        self.stays.remove(&session(id));
        let reason = ebbtide_core::EndReason::Disconnected;
        self.sessions.end_by_id(session(id), reason, self.now);
        self.step(Input::Tick)
    }

    /// The next configuration has this resource in maintenance.
    fn withdraw(&mut self, resource: &str) -> Vec<String> {
        self.withdrawn.push(resource.to_owned());
        Vec::new()
    }

    /// The live sessions, and where they are.
    fn list(&self) -> Vec<String> {
        let snapshot = &self.published;
        let live = self.sessions.list(snapshot, None, usize::MAX, |_| true);
        live.iter()
            .map(|session| {
                let server = snapshot.server_of(session).unwrap();
                format!("{} on {}", session.id, server.name)
            })
            .collect()
    }

    /// `attach s1 shared 7`: the session uses this resource, of a copy with this digest, or with none.
    fn attach(&mut self, id: &str, resource: &str, digest: &str) -> Vec<String> {
        let Found::Live(found) = self.sessions.find(session(id)) else {
            return vec!["not live".into()];
        };
        found.attach(Attachment {
            resource: resource.to_owned(),
            began_on: digest.parse().ok().map(identity),
        });
        Vec::new()
    }

    /// The session has an answer under way that another server could go on with.
    fn download(&mut self, id: &str) -> Vec<String> {
        let Found::Live(found) = self.sessions.find(session(id)) else {
            return vec!["not live".into()];
        };
        let mut stay = found.enter(self.now.moment);
        stay.become_movable();
        self.downloads.push(stay);
        Vec::new()
    }

    /// A worker has moved a session.
    fn moved(&mut self, id: &str, server: &str, micros: &str) -> Vec<String> {
        let Found::Live(found) = self.sessions.find(session(id)) else {
            return vec!["not live".into()];
        };
        let pool = self.published.pool_named("app").unwrap();
        let (_, name) = server.split_once('/').unwrap();
        let to = pool
            .servers
            .iter()
            .find(|view| &*view.name == name)
            .unwrap();
        let place = to.reserve().expect("there is room");
        self.sessions.shift(&found, place, self.now).unwrap();
        let moved = Moved {
            session: found.id,
            from: found.server,
            to: to.key,
            pause: Duration::from_micros(micros.parse().unwrap()),
        };
        self.step(Input::Fact(Fact::Moved(moved)))
    }

    /// What a server's manifest says of a resource.
    fn copy(&mut self, server: &str, resource: &str, digest: &str) -> Vec<String> {
        let server = ServerName::parse(server).unwrap();
        let place = format!("/srv/{}.json", server.server);
        let copy = digest.parse().ok().map(identity);
        self.step(Input::ManifestRead {
            server,
            place,
            read: Ok([(resource.to_owned(), copy)].into()),
        })
    }

    fn order(&self, order: &MoveOrder) -> String {
        let pool = self.published.pool_named("app").unwrap();
        let name = |key| pool.server(key).unwrap().name.to_string();
        let sessions: Vec<String> = order.sessions.iter().map(ToString::to_string).collect();
        format!(
            "{} {} from {} to {}",
            if order.cut { "cut" } else { "move" },
            sessions.join(" "),
            name(order.from),
            order.to.map_or("any".into(), name),
        )
    }

    fn use_session(&mut self, id: &str) -> String {
        match self.sessions.find(session(id)) {
            Found::Live(found) => {
                drop(found.enter(self.now.moment));
                "live".into()
            }
            Found::Ended => {
                self.sessions.came_back(session(id));
                "ended".into()
            }
            Found::Unknown => "unknown".into(),
        }
    }

    fn logout(&mut self, id: &str) -> Vec<String> {
        let reason = ebbtide_core::EndReason::LoggedOut;
        self.sessions.end_by_id(session(id), reason, self.now);
        self.step(Input::Tick)
    }

    fn wait(&mut self, span: Millis) -> Vec<String> {
        let mut said = Vec::new();
        let end = self.now.moment.plus(span);
        while self.now.moment < end {
            self.now.moment = self.now.moment.plus(Millis(100));
            self.now.wall.0 += 100;
            self.sessions
                .sweep(0..SessionTable::SHARDS, &self.published.clone(), self.now);
            said.extend(self.tell_of_sessions());
            let ticked = self.step(Input::Tick);
            if !ticked.is_empty() {
                let left = end.since(self.now.moment);
                said.push(format!("({left} before the end of the wait)"));
            }
            said.extend(ticked);
        }
        said
    }

    fn step_wall(&mut self, step: &str) -> Vec<String> {
        let (sign, span) = step.split_at(1);
        let span = millis(span).0;
        self.now.wall.0 = match sign {
            "+" => self.now.wall.0 + span,
            _ => self.now.wall.0 - span,
        };
        self.step(Input::Tick)
    }

    fn status(&self) -> Vec<String> {
        let mut status = self.driver.status(self.now);
        let snapshot = self.driver.snapshot();
        status.count(&self.sessions.tally(&snapshot, self.now.moment));
        let pools = status.pools.iter();
        let closing = pools
            .filter(|pool| pool.intent.label != "open")
            .map(|pool| {
                let left = pool.intent.left;
                format!(
                    "pool {}: {}{}{}{}{}",
                    pool.name,
                    pool.intent.label,
                    left.map_or(String::new(), |left| format!(" ({left} left)")),
                    if pool.intent.blocks_new { "" } else { " +new" },
                    by(pool.intent.by.as_deref(), pool.intent.reason.as_deref()),
                    match &pool.intent.waits_for {
                        Some(what) => format!(", waits for: {what}"),
                        None => String::new(),
                    },
                )
            });
        let servers = status.pools.iter().flat_map(|pool| &pool.servers);
        let names = status.pools.iter().flat_map(|pool| &pool.names);
        closing
            .chain(names.map(names::name))
            .chain(servers.map(|server| {
                let left = server.intent.left;
                let counting = server.counting_until.map_or("", |_| ", still counting");
                let returning = server.returning.map_or(String::new(), |returning| {
                    format!(", {} % for {}", returning.share, returning.left)
                });
                let shown = server.verification.as_ref().map_or(String::new(), |shown| {
                    let failed = shown.failed.as_ref().map_or("", |_| " (failed)");
                    format!(", {}{failed}", shown.progress)
                });
                let agent = server.agent.as_ref().map_or(String::new(), agent::agent);
                let machine = server.machine.as_ref().map_or(String::new(), load::machine);
                let places = server.places;
                let places = places.map_or(String::new(), |places| format!(", {places} places"));
                let sick = server
                    .sickness
                    .as_ref()
                    .map_or(String::new(), traffic::sickness);
                format!(
                    "{}: {}{}, {}, {}{}{}, {} active, {} idle, epoch {}{places}{shown}{returning}{machine}{agent}{sick}{counting}",
                    server.name,
                    server.intent.label,
                    left.map_or(String::new(), |left| format!(" ({left} left)")),
                    server.health.label(),
                    server.standing.reason.label(),
                    if server.standing.admits_new {
                        " +new"
                    } else {
                        ""
                    },
                    if server.standing.serves_own {
                        " +own"
                    } else {
                        ""
                    },
                    server.active,
                    server.idle,
                    server.epoch
                )
            }))
            .collect()
    }

    /// As the shell does: what has happened to sessions by now is told first.
    fn step(&mut self, input: Input) -> Vec<String> {
        let mut said = self.tell_of_sessions();
        said.extend(self.step_alone(input));
        said
    }

    fn tell_of_sessions(&mut self) -> Vec<String> {
        let (changes, _) = self.sessions.take_changes();
        match changes.is_empty() {
            true => Vec::new(),
            false => self.step_alone(Input::Sessions(changes)),
        }
    }

    fn step_alone(&mut self, input: Input) -> Vec<String> {
        let outputs = self.driver.step(self.now, input);
        outputs
            .into_iter()
            .filter_map(|output| self.tell(output))
            .collect()
    }

    fn tell(&mut self, output: Output) -> Option<String> {
        Some(match output {
            Output::Persist { ticket, writes } => {
                let text: Vec<String> = writes.iter().map(describe).collect();
                assert!(self.on_its_way.is_none(), "two tickets at once");
                self.on_its_way = Some((ticket, writes));
                format!("persist: {}", text.join("; "))
            }
            Output::Publish(snapshot) => {
                assert!(snapshot.generation > self.published.generation);
                self.published = snapshot;
                "publish".into()
            }
            Output::Answer { id, result } => match result {
                Ok(answer) => {
                    let changes = answer.changes.join(" | ");
                    format!("answer {}: done: {} {changes}", id.0, answer.text)
                        .trim_end()
                        .into()
                }
                Err(refusal) => {
                    let kind = format!("{:?}", refusal.kind);
                    let kind = kind.split('(').next().unwrap_or_default();
                    format!("answer {}: refused ({kind}): {}", id.0, refusal.text)
                }
            },
            Output::Event(event) => match event.kind {
                EventKind::SessionBegan { .. } => return None,
                kind => {
                    let server = event.server.map_or("-".into(), |name| name.to_string());
                    let told = match &kind {
                        EventKind::PoolIntent {
                            by: who, message, ..
                        }
                        | EventKind::Intent {
                            by: who, message, ..
                        } => by(Some(who), message.as_deref()),
                        _ => String::new(),
                    };
                    format!("event {server}: {kind}{told}")
                }
            },
            Output::ProbeNow(server) => format!("probe {server} now"),
            Output::Move(order) => self.order(&order),
        })
    }
}
