//! One request on a connection of its own.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::pending;
use tokio::io::{AsyncRead, AsyncWrite};

/// As much of an answer's head is read, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Sends the request, and has the final answer read. The connection is dropped with that, however much
/// more would come.
pub(super) async fn exchange<Read, T>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> Read,
) -> Result<T, String>
where
    Read: Future<Output = T>,
{
    let said = |error: hyper::Error| format!("no sound answer: {error}");
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    // Whatever ends the connection is told to whoever waits for the answer too.
    let carry = async {
        drop(connection.await);
        pending::<Infallible>().await
    };
    let answered = async {
        let answer = sender.send_request(request).await.map_err(said)?;
        Ok(read(answer).await)
    };
    tokio::select! {
        answered = answered => answered,
        never = carry => match never {},
    }
}
