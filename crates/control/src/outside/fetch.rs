//! Small documents of others: one request each on a connection of its own, bounded in size and time.
//! Redirects are not followed.

use super::HttpUrl;
use super::connect::Connector;
use super::exchange::exchange;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long one document may take.
const LIMIT: Duration = Duration::from_secs(8);
/// Bytes of an answer's body, at most.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Documents that are fetched at the same time.
const AT_ONCE: usize = 8;

/// A document that is asked for.
pub(crate) struct Fetch {
    pub url: HttpUrl,
    /// What is sent with `POST`, as a form; without it the document is got.
    pub form: Option<String>,
    pub authorization: Option<String>,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub status: u16,
    pub body: Bytes,
}

/// A document that is asked for, and who waits for it.
pub(super) struct Order {
    fetch: Fetch,
    answer: oneshot::Sender<Result<Fetched, String>>,
}

/// The way to the thread.
pub(super) struct Orders(mpsc::UnboundedSender<Order>);

impl Orders {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// An error says why there is none, and goes on after the name of the document.
    pub async fn fetch(&self, fetch: Fetch) -> Result<Fetched, String> {
        let (answer, answered) = oneshot::channel();
        // The thread ends only after the control thread.
        drop(self.0.send(Order { fetch, answer }));
        let over = |_| Err("was not asked for: Ebbtide is stopping".to_owned());
        answered.await.unwrap_or_else(over)
    }
}

/// Fetches what is ordered, until nobody can order more.
pub(super) async fn run(mut orders: mpsc::UnboundedReceiver<Order>, connector: Connector) {
    let connector = Arc::new(connector);
    let mut tasks = JoinSet::new();
    while let Some(Order { fetch, mut answer }) = orders.recv().await {
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= AT_ONCE {
            let text = "was not asked for: too much is asked for at this moment";
            drop(answer.send(Err(text.to_owned())));
            continue;
        }
        let connector = Arc::clone(&connector);
        tasks.spawn(async move {
            let fetched = tokio::select! {
                fetched = timeout(LIMIT, attempt(&connector, &fetch)) => fetched,
                () = answer.closed() => return,
            };
            let late = |_| Err(format!("did not come within {} s", LIMIT.as_secs()));
            drop(answer.send(fetched.unwrap_or_else(late)));
        });
    }
}

async fn attempt(connector: &Connector, fetch: &Fetch) -> Result<Fetched, String> {
    let connected = connector.connect(&fetch.url).await;
    let stream = connected.map_err(|error| format!("cannot be asked for: {error}"))?;
    let fetched = exchange(stream, request(fetch)?, async |answer| {
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect();
        let body = body.await.map_err(|error| {
            let text = format!("is broken, or longer than {BODY_BYTES_MAX} bytes: {error}");
            text
        })?;
        Ok(Fetched {
            status,
            body: body.to_bytes(),
        })
    });
    let fetched = fetched.await;
    fetched.map_err(|error| format!("came with {error}"))?
}

fn request(fetch: &Fetch) -> Result<Request<Full<Bytes>>, String> {
    let mut request = match fetch.form {
        Some(_) => Request::post(&fetch.url.target)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        None => Request::get(&fetch.url.target),
    };
    request = request
        .header(header::HOST, &fetch.url.authority)
        .header(header::USER_AGENT, "ebbtide")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if let Some(authorization) = &fetch.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let body = fetch.form.clone().unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body)));
    request.map_err(|error| format!("cannot be asked for: {error}"))
}
