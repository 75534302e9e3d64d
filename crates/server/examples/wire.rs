//! What the wires cost: `wire PORT` answers reads of 400 bytes through listener, dialect and rendering, with nothing
//! behind; `wire PORT bare` answers the same bytes from hyper alone. Compare the two under the same load, by the CPU
//! time of the process.

use bytes::Bytes;
use coffer_crypto::random::{Random, SystemRandom};
use coffer_engine::{Answer, Call, Reply};
use coffer_server::config::Listener;
use coffer_server::wire::{Defaults, Serve, Wire, bind};
use coffer_types::{Object, Result};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone)]
struct Nothing;

impl Serve for Nothing {
    async fn serve(&self, _: Call) -> Result<Answer> {
        let data = Object::new().with("password", "correct horse battery staple").with("user", "app").with("port", 5432);
        let metadata = Object::new().with("created_time", "2026-11-23T18:28:08.416462169Z").with("version", 1);
        Ok(Reply::data(Object::new().with("data", data).with("metadata", metadata)).into_answer())
    }
}

const BARE: &str = r#"{"request_id":"ad7755b8-88b2-9779-1dbe-6c3806dddcc0","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"correct horse battery staple","user":"app","port":5432},"metadata":{"created_time":"2026-11-23T18:28:08.416462169Z","version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;

async fn bare(port: u16) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|_: Request<hyper::body::Incoming>| async {
                let body = Full::new(Bytes::from_static(BARE.as_bytes()));
                Ok::<_, Infallible>(
                    Response::builder()
                        .header("content-type", "application/json")
                        .header("cache-control", "no-store")
                        .body(body)
                        .unwrap_or_default(),
                )
            });
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let port: u16 = args.get(1).ok_or("usage: wire PORT [bare]")?.parse()?;
    if args.get(2).is_some_and(|word| word == "bare") {
        return Ok(bare(port).await?);
    }
    let defaults = Defaults { max_request_duration: Some(std::time::Duration::from_secs(90)), hostname: None };
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let bound = bind(&Listener::loopback("127.0.0.1", port), &defaults).await?;
    let wire = Wire::start(vec![bound], &Nothing, &random, defaults);
    std::future::pending::<()>().await;
    wire.stop(std::time::Duration::ZERO).await;
    Ok(())
}
