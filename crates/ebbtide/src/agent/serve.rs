//! Answers balancers: one line to each.

use super::line::{Reading, line};
use super::standing::Standing;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Who is answered at the same time; others wait.
const ANSWERED_MAX: usize = 512;
/// For so long a balancer may take to take its line and close.
const TIME_MAX: Duration = Duration::from_secs(2);
/// What is read of what it says (HAProxy's `agent-send`), which nobody needs.
const SAID_BYTES_MAX: u64 = 4096;

/// Answers everyone who connects.
pub(super) async fn serve(
    listener: &TcpListener,
    standing: &Standing,
    reading: &RefCell<Reading>,
    sessions_max: Option<u64>,
) {
    let places = Arc::new(Semaphore::new(ANSWERED_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("ebbtide: a balancer cannot be answered: {error}");
                // Out of descriptors: some will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let line = match standing.held() {
            Ok(held) => line(
                &reading.borrow(),
                held.as_deref(),
                sessions_max,
                Instant::now(),
            ),
            // What the operator wants is not known, so nothing is said that would change it.
            Err(failure) => format!("up #{}\n", failure.detail.message),
        };
        tokio::task::spawn_local(async move {
            // Who is too slow is hung up on.
            let _ = timeout(TIME_MAX, answer(stream, &line)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with something unread would reset the connection, and could take the line with it.
    let mut said = Vec::new();
    stream.take(SAID_BYTES_MAX).read_to_end(&mut said).await?;
    Ok(())
}
