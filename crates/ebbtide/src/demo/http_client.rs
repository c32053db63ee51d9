//! A small browser for the demo's users: one connection that is kept, and cookies.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Whatever went wrong; only counted.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// What came of a request.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Ebbtide has said that the session ends.
    pub ends: bool,
    /// The content.
    pub body: Bytes,
}

/// One user's browser.
pub struct Browser {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser that has been nowhere.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            cookies: BTreeMap::new(),
        }
    }

    /// Asks, and reads the answer to its end.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        form: &str,
    ) -> Result<Answer, AnyError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::COOKIE, self.cookie_field());
        if !form.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::from(form.to_owned()))?;
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection.send_request(request).await?;
        self.keep_cookies(&response);
        let answer = Answer {
            status: response.status(),
            ends: response.headers().contains_key("ebbtide-session-ends"),
            body: response.into_body().collect().await?.to_bytes(),
        };
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Opens a WebSocket with the same cookies.
    pub async fn web_socket(&self, path: &str) -> Result<WebSocketStream<TcpStream>, AnyError> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        let fields = request.headers_mut();
        fields.insert(header::COOKIE, self.cookie_field().parse()?);
        let stream = TcpStream::connect(self.address).await?;
        let (socket, _) = client_async(request, stream).await?;
        Ok(socket)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, AnyError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // What breaks the connection also breaks the exchange on it, which is counted.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn cookie_field(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    fn keep_cookies(&mut self, response: &Response<Incoming>) {
        let fields = response.headers().get_all(header::SET_COOKIE);
        for field in fields.iter().filter_map(|field| field.to_str().ok()) {
            let pair = field.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
