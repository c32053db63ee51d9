//! Exporters on the servers' machines: each is asked again and again how busy its machine is. What
//! follows from that is decided in `core`.

mod meter;
#[cfg(test)]
mod tests;

use crate::inbox::{Inbox, Message};
use crate::manifest::ManifestSource;
use crate::outside::exchange::exchange;
use crate::outside::rounds::{self, Turn};
use crate::probe::describe;
use crate::prober::jittered;
use ebbtide_core::{Input, Load, LoadSettings, ServerName, Snapshot};
use ebbtide_protocol::exporter::{ExporterReader, Figures};
use ebbtide_protocol::exposition::Selector;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use meter::Meter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The longest page that is read, in bytes. It is read as it comes and never kept.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Exporters that are asked at the same time.
const AT_ONCE_MAX: usize = 64;
/// A load that it takes two pages to know is wanted this soon.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What one server's exporter is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    exporter: Arc<str>,
    settings: LoadSettings,
}

/// Asks until the sender of `snapshots` is dropped.
pub(super) async fn run(snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) {
    let ask = |name, question, turn| ask_on(name, question, turn, inbox.clone());
    rounds::run(snapshots, AT_ONCE_MAX, questions, ask).await;
}

fn questions(snapshot: &Snapshot) -> BTreeMap<ServerName, Question> {
    let pools = snapshot.pools.iter();
    let pools = pools.filter_map(|pool| Some((pool, pool.config.load.as_ref()?)));
    let questions = pools.flat_map(|(pool, settings)| {
        pool.servers.iter().filter_map(|server| {
            let name = ServerName::new(pool.config.name.as_str(), &*server.name);
            let question = Question {
                exporter: server.exporter.clone()?,
                settings: settings.of_server(server.max_sessions),
            };
            Some((name, question))
        })
    });
    questions.collect()
}

/// Asks one exporter until it is aborted.
async fn ask_on(name: ServerName, question: Question, turn: Turn, inbox: Inbox) {
    let Question { exporter, settings } = question;
    let every = Duration::from_millis(settings.every.0);
    sleep(every.mul_f64(turn.share)).await;
    let mut meter = Meter::new(settings.clone());
    loop {
        let place = turn.place().await;
        let read = look(&exporter, &settings, &mut meter).await;
        drop(place);
        let again_after = match read {
            Ok(None) => every.min(AGAIN_AFTER),
            _ => every,
        };
        inbox.send(Message::Told(Input::LoadRead {
            server: name.clone(),
            exporter: exporter.to_string(),
            read: read.map_err(|why| format!("{exporter}: {why}")),
        }));
        sleep(jittered(again_after)).await;
    }
}

/// Asks once. `Ok(None)`: it takes another page to know the load.
async fn look(
    exporter: &str,
    settings: &LoadSettings,
    meter: &mut Meter,
) -> Result<Option<Load>, String> {
    let limit = Duration::from_millis(settings.timeout.0);
    let figures = timeout(limit, fetch(exporter, meter.selector()))
        .await
        .unwrap_or_else(|_| Err(format!("no whole page within {}", settings.timeout)))?;
    meter.load(&figures, Instant::now())
}

async fn fetch(exporter: &str, selector: Option<Selector>) -> Result<Figures, String> {
    let ManifestSource::Http {
        host,
        port,
        authority,
        target,
    } = ManifestSource::parse(exporter)?
    else {
        return Err("is not an http:// address".into());
    };
    let stream = TcpStream::connect((host.as_str(), port));
    let stream = stream.await.map_err(describe)?;
    let request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "ebbtide-load")
        .header(header::ACCEPT, "text/plain; version=0.0.4, */*;q=0.1")
        .header(header::CONNECTION, "close")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let reader = ExporterReader::new(selector);
    exchange(stream, request, async |answer| {
        read_page(answer, reader).await
    })
    .await?
}

/// Reads the page as it comes.
async fn read_page(
    answer: Response<Incoming>,
    mut reader: ExporterReader,
) -> Result<Figures, String> {
    if answer.status() != StatusCode::OK {
        return Err(format!("it is answered {}", answer.status().as_u16()));
    }
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its page broke off: {error}"))?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        bytes += piece.len();
        if bytes > PAGE_BYTES_MAX {
            return Err("its page is longer than 8 MiB".into());
        }
        reader.feed(piece);
    }
    reader.finish().map_err(|fault| fault.reason())
}
