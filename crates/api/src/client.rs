//! The typed client: one method for each endpoint.

use crate::{
    AddServer, AuditPage, AuditQuery, Changed, CloseRequest, CreateToken, CreateUser, Doors,
    DrainRequest, DrillRequest, EndSessionsRequest, ErrorBody, ErrorDetail, Event, HoldRequest,
    MoveRequest, MovesReport, NewDoor, NewToken, OpenDoor, PREFIX, PoolStatus, ReasonQuery,
    ReasonRequest, RebalancePlan, RebalanceRequest, Replicas, ServerStatus, SessionPage,
    SessionQuery, SessionsEnded, SessionsTold, SetPassword, SetRole, SetServer, Status,
    StopRequest, TellSessionsRequest, Tokens, Users, WaitAnswer, WaitQuery,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is taken: ten thousand servers' status fits many times over.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest single event that is taken.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// A client of one node. Needs a Tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Client {
    target: Target,
}

#[derive(Clone)]
enum Target {
    Unix(PathBuf),
    Tcp {
        address: String,
        token: Option<String>,
    },
}

/// Why there is no answer to use.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientError {
    /// Nobody answers there; the text says what to do.
    Unreachable(String),
    /// The node says no.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        error: ErrorDetail,
    },
    /// The answer broke off or was not understood; what was asked may have been done.
    Broken(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Broken(text) => f.write_str(text),
            Self::Refused { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

type Result<T> = std::result::Result<T, ClientError>;

const NOTHING: Option<&()> = None;

impl Client {
    /// By the UNIX socket in the node's state directory.
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self {
            target: Target::Unix(socket.into()),
        }
    }

    /// Over TCP, to `host:port`, with a bearer token.
    pub fn tcp(address: impl Into<String>, token: Option<String>) -> Self {
        Self {
            target: Target::Tcp {
                address: address.into(),
                token,
            },
        }
    }

    /// The whole node.
    pub async fn status(&self) -> Result<Status> {
        self.get("/status").await
    }

    /// One pool.
    pub async fn pool(&self, pool: &str) -> Result<PoolStatus> {
        self.get(&format!("/pools/{}", encode(pool))).await
    }

    /// A pool's resources and their copies.
    pub async fn replicas(&self, pool: &str) -> Result<Replicas> {
        self.get(&format!("/pools/{}/replicas", encode(pool))).await
    }

    /// One server.
    pub async fn server(&self, pool: &str, server: &str) -> Result<ServerStatus> {
        self.get(&at(pool, server, "")).await
    }

    /// Back into traffic.
    pub async fn ready(&self, pool: &str, server: &str, body: &HoldRequest) -> Result<Changed> {
        self.post(&at(pool, server, "/ready"), body).await
    }

    /// No new sessions.
    pub async fn hold(&self, pool: &str, server: &str, body: &HoldRequest) -> Result<Changed> {
        self.post(&at(pool, server, "/hold"), body).await
    }

    /// No new sessions, the rest end at the deadline, then maintenance.
    pub async fn drain(&self, pool: &str, server: &str, body: &DrainRequest) -> Result<Changed> {
        self.post(&at(pool, server, "/drain"), body).await
    }

    /// A drain that is answered when the sessions that others can take over have left.
    pub async fn stop(&self, pool: &str, server: &str, body: &StopRequest) -> Result<MovesReport> {
        self.post(&at(pool, server, "/stop"), body).await
    }

    /// A failover test.
    pub async fn drill(
        &self,
        pool: &str,
        server: &str,
        body: &DrillRequest,
    ) -> Result<MovesReport> {
        self.post(&at(pool, server, "/drill"), body).await
    }

    /// Moves a session to another server.
    pub async fn move_session(&self, id: &str, body: &MoveRequest) -> Result<MovesReport> {
        let path = format!("/sessions/{}/move", encode(id));
        self.post(&path, body).await
    }

    /// Serves nobody, at once.
    pub async fn maintenance(
        &self,
        pool: &str,
        server: &str,
        body: &HoldRequest,
    ) -> Result<Changed> {
        self.post(&at(pool, server, "/maintenance"), body).await
    }

    /// Closes a pool at a deadline, or changes how it is closing or closed.
    pub async fn close(&self, pool: &str, body: &CloseRequest) -> Result<Changed> {
        self.post(&format!("/pools/{}/close", encode(pool)), body)
            .await
    }

    /// Opens a pool, or ends its countdown.
    pub async fn open(&self, pool: &str, body: &ReasonRequest) -> Result<Changed> {
        self.post(&format!("/pools/{}/open", encode(pool)), body)
            .await
    }

    /// What a rebalance would do now.
    pub async fn rebalance_plan(&self, pool: &str) -> Result<RebalancePlan> {
        self.get(&format!("/pools/{}/rebalance", encode(pool)))
            .await
    }

    /// Forgets idle sessions on crowded servers.
    pub async fn rebalance(&self, pool: &str, body: &RebalanceRequest) -> Result<Changed> {
        self.post(&format!("/pools/{}/rebalance", encode(pool)), body)
            .await
    }

    /// Stops a rebalance.
    pub async fn stop_rebalance(&self, pool: &str, query: &ReasonQuery) -> Result<Changed> {
        let path = format!("/pools/{}/rebalance", encode(pool));
        let path = with_query(&path, query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// Opens a door to a server.
    pub async fn open_door(&self, pool: &str, server: &str, body: &OpenDoor) -> Result<NewDoor> {
        self.post(&at(pool, server, "/doors"), body).await
    }

    /// The doors that are open.
    pub async fn doors(&self) -> Result<Doors> {
        self.get("/doors").await
    }

    /// Closes a door.
    pub async fn close_door(&self, id: &str, query: &crate::ReasonQuery) -> Result<Changed> {
        let path = with_query(&format!("/doors/{}", encode(id)), query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// Forgets every binding to the server.
    pub async fn forget(&self, pool: &str, server: &str, body: &ReasonRequest) -> Result<Changed> {
        self.post(&at(pool, server, "/forget"), body).await
    }

    /// Waits, for as long as one call may (a minute); call again for longer.
    pub async fn wait(&self, pool: &str, server: &str, query: &WaitQuery) -> Result<WaitAnswer> {
        let path = with_query(&at(pool, server, "/wait"), query)?;
        self.get(&path).await
    }

    /// Adds a server beside those of the file.
    pub async fn add_server(&self, pool: &str, server: &str, body: &AddServer) -> Result<Changed> {
        self.send(Method::PUT, &at(pool, server, ""), Some(body))
            .await
    }

    /// Changes settings of a server.
    pub async fn set_server(&self, pool: &str, server: &str, body: &SetServer) -> Result<Changed> {
        self.send(Method::PATCH, &at(pool, server, ""), Some(body))
            .await
    }

    /// Removes a server that was added live.
    pub async fn remove_server(
        &self,
        pool: &str,
        server: &str,
        query: &crate::RemoveQuery,
    ) -> Result<Changed> {
        let path = with_query(&at(pool, server, ""), query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// A page of sessions.
    pub async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage> {
        self.get(&with_query("/sessions", query)?).await
    }

    /// Ends one session.
    pub async fn end_session(&self, id: &str, query: &crate::ReasonQuery) -> Result<Changed> {
        let path = with_query(&format!("/sessions/{}", encode(id)), query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// Ends every live session that fits.
    pub async fn end_sessions(&self, body: &EndSessionsRequest) -> Result<SessionsEnded> {
        self.post("/sessions/end", body).await
    }

    /// Leaves the users of every live session that fits a message.
    pub async fn tell_sessions(&self, body: &TellSessionsRequest) -> Result<SessionsTold> {
        self.post("/sessions/tell", body).await
    }

    /// A page of the audit log, the newest line first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage> {
        self.get(&with_query("/audit", query)?).await
    }

    /// Has the node read its configuration again.
    pub async fn reload(&self, body: &ReasonRequest) -> Result<Changed> {
        self.post("/reload", body).await
    }

    /// Makes new session tokens with a new secret; the present one stays good beside it.
    pub async fn rotate_token_secret(&self, body: &ReasonRequest) -> Result<Changed> {
        self.post("/token-secret/rotate", body).await
    }

    /// The bearer tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Tokens> {
        self.get("/tokens").await
    }

    /// Makes a bearer token; the answer is the only time that its secret is seen.
    pub async fn create_token(&self, body: &CreateToken) -> Result<NewToken> {
        self.post("/tokens", body).await
    }

    /// Removes a bearer token.
    pub async fn delete_token(&self, name: &str, query: &crate::ReasonQuery) -> Result<Changed> {
        let path = with_query(&format!("/tokens/{}", encode(name)), query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// The console's users, and the file that they stand in.
    pub async fn users(&self) -> Result<Users> {
        self.get("/users").await
    }

    /// Adds a user of the console.
    pub async fn create_user(&self, body: &CreateUser) -> Result<Changed> {
        self.post("/users", body).await
    }

    /// Removes a user of the console, who is signed out everywhere.
    pub async fn delete_user(&self, name: &str, query: &crate::ReasonQuery) -> Result<Changed> {
        let path = with_query(&format!("/users/{}", encode(name)), query)?;
        self.send(Method::DELETE, &path, NOTHING).await
    }

    /// Gives a user of the console another role, which signs him out everywhere.
    pub async fn set_user_role(&self, name: &str, body: &SetRole) -> Result<Changed> {
        self.post(&format!("/users/{}/role", encode(name)), body)
            .await
    }

    /// Gives a user of the console another password, which signs him out everywhere.
    pub async fn set_user_password(&self, name: &str, body: &SetPassword) -> Result<Changed> {
        self.post(&format!("/users/{}/password", encode(name)), body)
            .await
    }

    /// Signs a user of the console out everywhere.
    pub async fn sign_out_user(&self, name: &str, body: &ReasonRequest) -> Result<Changed> {
        self.post(&format!("/users/{}/sign-out", encode(name)), body)
            .await
    }

    /// The description of this API.
    pub async fn openapi(&self) -> Result<serde_json::Value> {
        self.get("/openapi.json").await
    }

    /// The event stream: what happens from now on, after first what happened since the event
    /// numbered `after`.
    pub async fn events(&self, after: Option<u64>) -> Result<EventStream> {
        let mut request = self.request(Method::GET, "/events", None)?;
        if let Some(after) = after {
            request
                .headers_mut()
                .insert("last-event-id", header::HeaderValue::from(after));
        }
        let response = timeout(ANSWER_TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| self.silent(""))??;
        if !response.status().is_success() {
            return Err(self.refused(response).await?);
        }
        Ok(EventStream {
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, NOTHING).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| ClientError::Broken(format!("cannot write the request: {error}")))?;
        let advice = advice(&method);
        let request = self.request(method, path, body)?;
        // Waits are answered within a minute; so this is more than any call needs.
        let limit = 2 * ANSWER_TIMEOUT;
        let answer = timeout(limit, self.call(request)).await;
        answer.map_err(|_| self.silent(advice))?
    }

    async fn call<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T> {
        let response = self.exchange(request).await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await?);
        }
        let bytes = read(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            ClientError::Broken(format!(
                "{} answered something else than this program understands ({error}); is it an \
                 Ebbtide of another version?",
                self.target
            ))
        })
    }

    async fn refused(&self, response: Response<Incoming>) -> Result<ClientError> {
        let status = response.status().as_u16();
        let bytes = read(response.into_body()).await?;
        Ok(match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(ErrorBody { error }) => ClientError::Refused { status, error },
            Err(_) => ClientError::Broken(format!(
                "{} answered {status} without saying why; is that address Ebbtide's control API?",
                self.target
            )),
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"));
        match &self.target {
            Target::Unix(_) => request = request.header(header::HOST, "localhost"),
            Target::Tcp { address, token } => {
                request = request.header(header::HOST, address);
                if let Some(token) = token {
                    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
            }
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|error| ClientError::Broken(format!("cannot write the request: {error}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let mut sender = timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(&error))?;
        let advice = advice(request.method());
        sender.send_request(request).await.map_err(|error| {
            ClientError::Broken(format!(
                "{} closed the connection without an answer ({error}){advice}",
                self.target
            ))
        })
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        match &self.target {
            Target::Unix(path) => speak(UnixStream::connect(path).await?).await,
            Target::Tcp { address, .. } => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                speak(stream).await
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let target = &self.target;
        let advice = match (target, error.kind()) {
            (Target::Unix(_), io::ErrorKind::PermissionDenied) => {
                "run this as the user that Ebbtide runs as, or use its TCP address with a token"
            }
            (Target::Unix(_), _) => "is `ebbtide run` running, with this state directory?",
            (Target::Tcp { .. }, _) => "is `ebbtide run` running, with this as its admin address?",
        };
        ClientError::Unreachable(format!(
            "cannot reach Ebbtide at {target} ({error}); {advice}"
        ))
    }

    fn silent(&self, advice: &str) -> ClientError {
        ClientError::Broken(format!("{} did not answer in time{advice}", self.target))
    }
}

/// What to do when an answer is missing: whoever only reads need not worry.
fn advice(method: &Method) -> &'static str {
    if *method == Method::GET {
        return "";
    }
    "; see `ebbtide status` for whether the change was made"
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { address, .. } => f.write_str(address),
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // What breaks the connection also breaks the exchange on it, which says so.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn read(body: Incoming) -> Result<Bytes> {
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    whole
        .map(|body| body.to_bytes())
        .map_err(|error| ClientError::Broken(format!("the answer broke off: {error}")))
}

fn at(pool: &str, server: &str, action: &str) -> String {
    format!("/servers/{}/{}{action}", encode(pool), encode(server))
}

/// Appends a query: the fields of a flat struct that are set.
fn with_query(path: &str, query: &impl Serialize) -> Result<String> {
    let fields = match serde_json::to_value(query) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => return Err(ClientError::Broken("a query is a flat struct".into())),
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name}={}", encode(text)),
            other => format!("{name}={other}"),
        })
        .collect();
    Ok(match pairs.as_slice() {
        [] => path.to_owned(),
        pairs => format!("{path}?{}", pairs.join("&")),
    })
}

/// Percent-encodes all but the unreserved characters (RFC 3986, 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The event stream.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    buffer: Vec<u8>,
}

impl EventStream {
    /// The next event; `None` when the node has closed the stream.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match data_of(&block) {
                    Some(data) => return Some(understand(&data)),
                    None => continue, // a heartbeat
                }
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                return Some(Err(ClientError::Broken("an event is too long".into())));
            }
            match self.body.frame().await? {
                Ok(frame) => self
                    .buffer
                    .extend_from_slice(frame.data_ref().map_or(&[], |bytes| &bytes[..])),
                Err(error) => {
                    let text = format!("the event stream broke off: {error}");
                    return Some(Err(ClientError::Broken(text)));
                }
            }
        }
    }
}

fn data_of(block: &[u8]) -> Option<Vec<u8>> {
    let lines = block.split(|byte| *byte == b'\n');
    let mut data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    data.next().map(<[u8]>::to_vec)
}

fn understand(data: &[u8]) -> Result<Event> {
    serde_json::from_slice(data)
        .map_err(|error| ClientError::Broken(format!("an event was not understood: {error}")))
}
