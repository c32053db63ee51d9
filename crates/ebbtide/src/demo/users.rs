//! The demo's users: they log in, work for a while, and account for every answer.

use super::http_client::{Answer, AnyError, Browser};
use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Users who are there at any moment.
pub const USERS: usize = 60;
/// One in so many also has a WebSocket open.
const WITH_WEB_SOCKET: u64 = 4;
const NAMES: [&str; 12] = [
    "anna", "boris", "carla", "dmitri", "elena", "farid", "grace", "hiro", "ines", "jonas",
    "keiko", "luis",
];
/// One in so many leaves without logging out.
const FORGETFUL: u64 = 5;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the users have met with.
#[derive(Debug, Default)]
pub struct Account {
    requests: AtomicU64,
    errors: AtomicU64,
    logins: AtomicU64,
    lost_work: AtomicU64,
    web_sockets_cut: AtomicU64,
    turned_away: AtomicU64,
}

impl Account {
    /// The account in a line.
    pub fn line(&self) -> String {
        format!(
            "{USERS} users: {} logins, {} requests, {} errors, {} WebSockets cut, {} users lost work, \
             {} turned away at the gate",
            self.logins.load(Relaxed),
            self.requests.load(Relaxed),
            self.errors.load(Relaxed),
            self.web_sockets_cut.load(Relaxed),
            self.lost_work.load(Relaxed),
            self.turned_away.load(Relaxed)
        )
    }

    /// Whether everybody was served.
    pub fn is_clean(&self) -> bool {
        let bad = [&self.errors, &self.lost_work, &self.web_sockets_cut];
        bad.iter().all(|count| count.load(Relaxed) == 0)
    }
}

/// Users come and go until the runtime ends.
pub async fn live(address: SocketAddr, account: Arc<Account>) {
    let mut users = tokio::task::JoinSet::new();
    for _ in 0..USERS {
        let account = Arc::clone(&account);
        users.spawn(async move {
            // Not all in the same moment.
            sleep(random_between(0, 4_000)).await;
            loop {
                stay(address, &account).await;
                sleep(random_between(200, 2_000)).await;
            }
        });
    }
    while users.join_next().await.is_some() {}
}

/// One user's stay, from login to logout.
async fn stay(address: SocketAddr, account: &Arc<Account>) {
    let mut browser = Browser::new(address);
    let mut leaves_at = Instant::now() + random_between(20_000, 180_000);
    if !log_in(&mut browser, account).await {
        // They come back, as people do.
        sleep(random_between(2_000, 8_000)).await;
        return;
    }
    // Dropped with the stay: a user who leaves closes the page.
    let mut with_socket = tokio::task::JoinSet::new();
    if random(WITH_WEB_SOCKET) == 0
        && let Some(socket) = counted(account, browser.web_socket("/ws")).await
    {
        let account = Arc::clone(account);
        with_socket.spawn(async move { chat(socket, &account).await });
    }
    while Instant::now() < leaves_at {
        sleep(random_between(1_000, 3_000)).await;
        let Some(here) = ask(&mut browser, account).await else {
            continue;
        };
        if here.ends {
            // Told that the end is near, they finish what they do, and save it.
            leaves_at = leaves_at.min(Instant::now() + random_between(1_000, 12_000));
        }
        if !here.logged_in {
            account.lost_work.fetch_add(1, Relaxed);
            // The page of the lost login goes, and its WebSocket with it.
            with_socket.abort_all();
            if !log_in(&mut browser, account).await {
                return;
            }
        }
    }
    if random(FORGETFUL) != 0 {
        request(&mut browser, account, Method::POST, "/logout", "").await;
    }
}

async fn log_in(browser: &mut Browser, account: &Account) -> bool {
    let name = NAMES[random(NAMES.len() as u64) as usize];
    let form = format!("user={name}");
    let answer = request(browser, account, Method::POST, "/login", &form).await;
    if answer.is_some() {
        account.logins.fetch_add(1, Relaxed);
    }
    answer.is_some()
}

/// What a user learns by asking.
struct Here {
    logged_in: bool,
    /// The session is going to end, as Ebbtide says.
    ends: bool,
}

/// `None` if there was no answer, which has been counted.
async fn ask(browser: &mut Browser, account: &Account) -> Option<Here> {
    let answer = request(browser, account, Method::GET, "/me", "").await?;
    let said: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    Some(Here {
        logged_in: said["logged_in"].as_bool()?,
        ends: answer.ends,
    })
}

async fn request(
    browser: &mut Browser,
    account: &Account,
    method: Method,
    path: &str,
    form: &str,
) -> Option<Answer> {
    let exchange = async {
        let answer = browser.send(method, path, form).await?;
        let status = answer.status;
        let is_gate = status == StatusCode::SERVICE_UNAVAILABLE;
        if status.is_success() || status.is_redirection() || is_gate {
            Ok(answer)
        } else {
            Err(format!("{status}").into())
        }
    };
    let answer = counted(account, exchange).await?;
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        account.turned_away.fetch_add(1, Relaxed);
        return None;
    }
    Some(answer)
}

/// Counts a request, and an error if it has no good answer in time.
async fn counted<T>(
    account: &Account,
    exchange: impl Future<Output = Result<T, AnyError>>,
) -> Option<T> {
    account.requests.fetch_add(1, Relaxed);
    let outcome = timeout(ANSWER_TIMEOUT, exchange).await;
    let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".into()));
    match outcome {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::debug!("a user met an error: {error}");
            account.errors.fetch_add(1, Relaxed);
            None
        }
    }
}

/// Says something now and then, and listens; what the server says also keeps the session active.
async fn chat(
    mut socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
    account: &Account,
) {
    let mut next_word = Instant::now() + random_between(1_000, 5_000);
    loop {
        let received = tokio::select! {
            received = socket.next() => received,
            () = tokio::time::sleep_until(next_word) => {
                next_word = Instant::now() + random_between(1_000, 5_000);
                match socket.send(Message::text("are you there?")).await {
                    Ok(()) => continue,
                    Err(_) => None,
                }
            }
        };
        if !matches!(received, Some(Ok(Message::Text(_) | Message::Ping(_)))) {
            account.web_sockets_cut.fetch_add(1, Relaxed);
            return;
        }
    }
}

fn random_between(least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random(most_ms - least_ms))
}

/// A number below `limit`. A demo without a source of randomness has users who are all alike.
fn random(limit: u64) -> u64 {
    getrandom::u64().unwrap_or_default() % limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What is counted as a login when the answer to it is this one.
    async fn logins(answer: &'static str) -> u64 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut browser = Browser::new(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let account = Account::default();
        log_in(&mut browser, &account).await;
        account.logins.load(Relaxed)
    }

    #[tokio::test]
    async fn only_who_gets_in_has_logged_in() {
        let empty = "Content-Length: 0\r\n\r\n";
        let gate = format!("HTTP/1.1 503 Service Unavailable\r\n{empty}");
        assert_eq!(logins(gate.leak()).await, 0);
        let inside = format!("HTTP/1.1 303 See Other\r\nLocation: /\r\n{empty}");
        assert_eq!(logins(inside.leak()).await, 1);
    }
}
