//! Deliveries: one request each on a connection of its own. Only the status of the answer counts:
//! redirects are not followed, and its body is not read.

use super::body::{body, signature};
use super::{Complaint, DELIVERED, FAILED, Hook, REFUSED};
use crate::clock::clock;
use crate::outside::connect::Connector;
use crate::outside::exchange::exchange;
use crate::outside::{HttpUrl, Tally};
use ebbtide_api::Event;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
#[cfg(test)]
use tokio_rustls::rustls::RootCertStore;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Why a try did not deliver.
enum Trouble {
    /// Another try may do better.
    Passing(String),
    /// It would not.
    Lasting(String),
}

pub(in crate::outside) struct Sender {
    tally: Arc<Tally>,
    pause_first: Duration,
    /// Tells this run's deliveries from those of others.
    run: u64,
    connector: Connector,
}

impl Sender {
    pub fn new(tally: Arc<Tally>, pause_first: Duration) -> Self {
        Self {
            tally,
            pause_first,
            // Without randomness the clock tells runs apart as well.
            run: getrandom::u64().unwrap_or_else(|_| clock().wall.0),
            connector: Connector::new(),
        }
    }

    /// The same, trusting these certificates and not those of the machine.
    #[cfg(test)]
    pub fn trusting(tally: Arc<Tally>, pause_first: Duration, roots: RootCertStore) -> Self {
        Self {
            connector: Connector::trusting(roots),
            ..Self::new(tally, pause_first)
        }
    }

    /// Delivers what the hook is told, one after another, until it is over.
    pub async fn serve(&self, hook: &Hook) {
        let mut undelivered = Complaint::default();
        while let Some(event) = hook.next().await {
            // A hook that is gone is not tried again for minutes.
            let outcome = tokio::select! {
                outcome = self.deliver(hook, &event) => outcome,
                () = hook.over() => return,
            };
            let name = &hook.settings.name;
            match outcome {
                Ok(()) => {
                    let dropped = hook.caught_up();
                    let lost = [
                        (undelivered.over(), "refused or given up"),
                        (dropped, "dropped"),
                    ];
                    for (count, what) in lost {
                        if let Some(count) = count {
                            tracing::warn!(
                                "webhook {name}: takes events again; {count} were {what}"
                            );
                        }
                    }
                }
                Err(why) => {
                    if let Some(count) = undelivered.again() {
                        let before = match count {
                            1 => String::new(),
                            count => format!("; {count} in a row were not delivered"),
                        };
                        tracing::warn!("webhook {name}: event {} {why}{before}", event.id);
                    }
                }
            }
        }
    }

    /// Tries until it is delivered; an error goes on after the event's number.
    async fn deliver(&self, hook: &Hook, event: &Event) -> Result<(), String> {
        let settings = &hook.settings;
        let (name, limit) = (&settings.name, Duration::from_millis(settings.timeout.0));
        let mut pause = self.pause_first;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tried = timeout(limit, self.attempt(hook, event)).await;
            let tried = tried.unwrap_or_else(|_| {
                let why = format!("no answer within {}", settings.timeout);
                Err(Trouble::Passing(why))
            });
            match tried {
                Ok(()) => {
                    self.tally.count(name, DELIVERED);
                    return Ok(());
                }
                Err(Trouble::Lasting(why)) => {
                    self.tally.count(name, REFUSED);
                    return Err(format!("was refused: {why}"));
                }
                Err(Trouble::Passing(why)) if attempt >= settings.attempts => {
                    self.tally.count(name, FAILED);
                    let tries = if attempt == 1 { "try" } else { "tries" };
                    return Err(format!("was given up after {attempt} {tries}: {why}"));
                }
                Err(Trouble::Passing(why)) => {
                    tracing::debug!("webhook {name}: event {}: {why}", event.id);
                    sleep(jittered(pause)).await;
                    pause = (pause * 3).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn attempt(&self, hook: &Hook, event: &Event) -> Result<(), Trouble> {
        let connected = self.connector.connect(&hook.settings.url).await;
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Trouble::Lasting(error.to_string()),
            _ => Trouble::Passing(error.to_string()),
        })?;
        let status = exchange(stream, self.request(hook, event)?, async |answer| {
            answer.status()
        });
        judge(status.await.map_err(Trouble::Passing)?)
    }

    fn request(&self, hook: &Hook, event: &Event) -> Result<Request<Full<Bytes>>, Trouble> {
        let HttpUrl {
            authority, target, ..
        } = &hook.settings.url;
        let body = body(hook.settings.template, event);
        let mut request = Request::post(target)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, "ebbtide-webhook")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(
                "Ebbtide-Delivery",
                format!("{:016x}-{}", self.run, event.id),
            );
        if let Some(secret) = &hook.settings.secret {
            let signature = signature(secret, clock().wall.0 / 1000, &body);
            request = request.header("Ebbtide-Signature", signature);
        }
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Trouble::Lasting(error.to_string()))
    }
}

fn judge(status: StatusCode) -> Result<(), Trouble> {
    let said = format!("it answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(Trouble::Lasting(format!(
            "{said}: redirects are not followed, configure the address that it leads to"
        ))),
        408 | 425 | 429 | 500..=599 => Err(Trouble::Passing(said)),
        _ => Err(Trouble::Lasting(said)),
    }
}

/// A fifth more or less, so that many deliveries that failed together do not come back together.
fn jittered(span: Duration) -> Duration {
    // Without randomness the middle will do.
    let dice = getrandom::u32().unwrap_or(u32::MAX / 2);
    span.mul_f64(0.8 + 0.4 * f64::from(dice) / f64::from(u32::MAX))
}
