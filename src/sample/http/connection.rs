//! One connection: requests and answers in turn.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Service;
use super::request::{self, Ended, Request};

/// Longest rest between two requests.
const IDLE: Duration = Duration::from_mins(2);

/// Serves a connection until either side ends it.
pub(super) async fn serve<S: Service>(
    mut stream: TcpStream,
    service: &S,
    mut stopping: watch::Receiver<bool>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = BytesMut::new();
    loop {
        if buffer.is_empty() {
            let first = timeout(IDLE, request::await_more(&mut stream, &mut buffer));
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                first = first => if !matches!(first, Ok(Ok(()))) { return },
            }
        }
        match read(&mut stream, &mut buffer).await {
            Ok(request) => {
                let (head_only, old) = (request.method == "HEAD", request.version == "HTTP/1.0");
                let closes = request.closes();
                let answer = service.answer(request).await;
                let close = closes || *stopping.borrow();
                if !answer.write(&mut stream, head_only, old, close).await {
                    break;
                }
            }
            Err(Ended::Malformed(malformed)) => {
                service.refuse(malformed).write(&mut stream, false, false, true).await;
                break;
            }
            Err(Ended::Closed) => return,
        }
    }
    linger(&mut stream, &mut buffer).await;
}

async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Request, Ended> {
    let mut request = loop {
        if let Some(request) = request::take_head(buffer)? {
            break request;
        }
        request::fill(stream, buffer).await?;
    };
    let framing = request.framing()?;
    if buffer.is_empty() && request.waits_for_continue() {
        let go_on = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        go_on.map_err(|_| Ended::Closed)?;
    }
    request::read_body(stream, buffer, &mut request, framing).await?;
    Ok(request)
}

/// Closes our side and reads what still comes for a moment, so that the answer is not lost to a reset.
async fn linger(stream: &mut TcpStream, buffer: &mut BytesMut) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        while request::fill(stream, buffer).await.is_ok() {
            buffer.clear();
        }
    };
    let _ = timeout(Duration::from_millis(500), drained).await;
}
