//! One worker of a cluster: a decoder with a pool and a cache of its own, behind HTTP.
//!
//! `POST /v1/completions {"prompt": [token, …]}` computes the prompt, publishes its blocks and
//! answers with one token, and with what the request took: `kvtrie: {prefilled, seconds}`. Time
//! starts when the connection is accepted. `GET /metrics` is for Prometheus, any other `GET` for
//! health checks.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use clap::Parser;
use kvtrie::{Namespace, PrefixCache};
use kvtrie_decoder::{Config, KvPool, Model, Span, ranked};
use kvtrie_events::{Metrics, Publisher};
use serde::Deserialize;
use serde_json::json;

/// One worker of a cluster.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen at
    #[arg(long)]
    listen: String,
    /// ZeroMQ endpoint for KV events
    #[arg(long)]
    publish: String,
    /// ZeroMQ endpoint for replays
    #[arg(long)]
    replay: String,
    /// Blocks of 16 tokens
    #[arg(long)]
    blocks: usize,
    /// Threads that compute, over one cache
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Tokens of a block.
const BLOCK: usize = 16;
/// Tokens of a step of a prefill.
const STEP: usize = 64;
/// The name of the model.
const MODEL: &str = "m";

/// What the threads share.
struct Engine {
    model: Model,
    pool: KvPool,
    cache: PrefixCache,
    namespace: Namespace,
    publisher: Publisher,
}

/// The part of a request that counts here.
#[derive(Deserialize)]
struct Body {
    prompt: Vec<u32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let builder = PrefixCache::builder().blocks(options.blocks);
    let cache = builder.block_size(BLOCK).change_feed(true).build()?;
    let model = Model::random(Config::small(), 1);
    let engine = Engine {
        pool: model.pool(options.blocks, BLOCK),
        namespace: cache.namespace(MODEL),
        publisher: Publisher::builder(&options.publish)
            .replay_endpoint(&options.replay)
            .start(&cache)?,
        model,
        cache,
    };
    let listener = TcpListener::bind(&options.listen)?;
    // A thread computes one prompt at a time. Health checks must not wait for that, so there is a
    // thread for each connection, which takes its turn.
    let turns: Vec<Mutex<()>> = (0..options.threads).map(|_| Mutex::new(())).collect();
    thread::scope(|scope| {
        for (number, stream) in listener.incoming().enumerate() {
            let (engine, turn) = (&engine, &turns[number % options.threads]);
            let accepted = Instant::now();
            scope.spawn(move || {
                // A client that leaves early is no concern of the others.
                let _ = stream.map(|stream| engine.serve(&stream, turn, accepted));
            });
        }
    });
    Ok(())
}

impl Engine {
    /// Answers the one request of a connection.
    fn serve(
        &self,
        stream: &TcpStream,
        turn: &Mutex<()>,
        accepted: Instant,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while reader.read_line(&mut head)? > 2 {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if head.starts_with("GET /metrics") {
            let page = Metrics::new(MODEL).render(&self.cache, Some(&self.publisher.stats()));
            return respond(stream, "200 OK", &page);
        }
        if head.starts_with("GET") {
            return respond(stream, "200 OK", "{}");
        }
        let Ok(Body { prompt }) = serde_json::from_slice(&body) else {
            return respond(stream, "400 Bad Request", "{}");
        };
        let first = {
            let _turn = turn.lock().expect("no thread panics while it computes");
            self.complete(&prompt)
        };
        let Some((token, prefilled)) = first else {
            return respond(stream, "503 Service Unavailable", "{}");
        };
        let seconds = accepted.elapsed().as_secs_f64();
        let answer = json!({
            "id": "1", "object": "text_completion", "created": 1, "model": MODEL,
            "choices": [{"index": 0, "text": token.to_string(), "finish_reason": "length", "logprobs": null}],
            "usage": {"prompt_tokens": prompt.len(), "completion_tokens": 1, "total_tokens": prompt.len() + 1},
            "kvtrie": {"prefilled": prefilled, "seconds": seconds},
        });
        respond(stream, "200 OK", &answer.to_string())
    }

    /// Computes a prompt. Returns the next token, and how many tokens were computed; none if the
    /// blocks are used up.
    fn complete(&self, prompt: &[u32]) -> Option<(u32, usize)> {
        let mut request = self.cache.sequence(&self.namespace, prompt);
        request.grow(&self.cache, 0).ok()?;
        let prefilled = request.uncomputed().len();
        let mut logits = None;
        while let Some(span) = Span::next(&request, STEP) {
            let count = span.tokens.len();
            logits = self.model.step(&self.pool, &[span]).pop().flatten();
            request.advance(count);
        }
        Some((ranked(&logits?, 1)[0], prefilled))
    }
}

/// Sends an answer and ends the connection.
fn respond(mut stream: &TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
