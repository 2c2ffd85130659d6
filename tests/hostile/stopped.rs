//! A thread that stops at an arbitrary point of the crate, for as long as it likes, stops nobody else.
//!
//! A signal stops it: the handler waits on a pipe. Wherever the thread was just then, in the middle of a
//! lookup with an epoch pinned or of a publication half done, there it stays. (Not inside the allocator, though,
//! whose lock the others may need; then it is let run on, and stopped elsewhere.)

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::allocator;
use crate::decoder::{Decoder, SIZE, fingerprints};

/// Points at which the thread is stopped.
const STOPS: usize = 1_000;
/// Requests that each of the others completes meanwhile.
const REQUESTS: usize = 20;
/// How long they may take, on a machine however busy; without a stopped thread it is microseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the handler made of the signal.
static ANSWER: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const STOPPED: u8 = 1;
const INSIDE_ALLOCATOR: u8 = 2;

/// The end of the pipe that the handler reads from.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Stops a thread until a byte comes.
extern "C" fn stop(_: libc::c_int) {
    if allocator::is_inside() {
        ANSWER.store(INSIDE_ALLOCATOR, Ordering::SeqCst);
        return;
    }
    let (pipe, mut byte) = (PIPE.load(Ordering::SeqCst), 0_u8);
    ANSWER.store(STOPPED, Ordering::SeqCst);
    // SAFETY: reads one byte into a place for one byte; allowed in a signal handler.
    unsafe { libc::read(pipe, (&raw mut byte).cast(), 1) };
}

/// Stops and resumes one thread, and tells it in the end that all is over.
struct Stopper<'s> {
    victim: libc::pthread_t,
    over: &'s AtomicBool,
    resume: UnixStream,
    _wait: UnixStream,
}

impl<'s> Stopper<'s> {
    fn new(victim: libc::pthread_t, over: &'s AtomicBool) -> Self {
        let (wait, resume) = UnixStream::pair().expect("two ends");
        PIPE.store(wait.as_raw_fd(), Ordering::SeqCst);
        let handler = stop as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler does nothing that a handler may not do.
        unsafe { libc::signal(libc::SIGUSR1, handler) };
        Self {
            victim,
            over,
            resume,
            _wait: wait,
        }
    }

    /// Stops the thread wherever it is, unless it is inside the allocator.
    fn stop(&self) -> bool {
        ANSWER.store(NONE, Ordering::SeqCst);
        // SAFETY: the thread runs until it is told that all is over.
        let sent = unsafe { libc::pthread_kill(self.victim, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        while ANSWER.load(Ordering::SeqCst) == NONE {
            thread::yield_now();
        }
        ANSWER.load(Ordering::SeqCst) == STOPPED
    }

    fn resume(&mut self) {
        self.resume.write_all(&[0]).expect("the handler reads it");
    }
}

impl Drop for Stopper<'_> {
    /// In a panic too, or the test would wait for the thread for ever. A byte too many does no harm.
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.resume();
    }
}

/// A thread that completes requests whenever it is asked to.
struct Worker {
    ask: Sender<()>,
    /// How many succeeded.
    done: Receiver<usize>,
}

impl Worker {
    fn new<'s>(scope: &'s thread::Scope<'s, '_>, decoder: &'s Decoder, seed: u64) -> Self {
        let (ask, asked) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        scope.spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            for () in asked {
                let requests = (0..REQUESTS).map(|_| decoder.request(&mut rng));
                if tell.send(requests.flatten().count()).is_err() {
                    return;
                }
                drop(decoder.cache.evict(2));
            }
        });
        Self { ask, done }
    }
}

/// Works until all is over, on everything there is to do.
fn be_stopped(decoder: &Decoder, over: &AtomicBool) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut kept = Vec::new();
    while !over.load(Ordering::SeqCst) {
        decoder.live(&mut rng, &mut kept);
        decoder.disturb(&mut rng);
    }
}

/// Has each worker complete its requests. Answers how many succeeded; none if they were not completed.
fn complete(workers: &[Worker]) -> Option<usize> {
    for worker in workers {
        worker.ask.send(()).expect("the worker waits");
    }
    let deadline = Instant::now() + PATIENCE;
    let mut succeeded = 0;
    for worker in workers {
        let left = deadline.saturating_duration_since(Instant::now());
        succeeded += worker.done.recv_timeout(left).ok()?;
    }
    Some(succeeded)
}

#[test]
fn a_stopped_thread_stops_nobody_else() {
    // Room for all, whatever the stopped thread has in its hands.
    let (decoder, over) = (Decoder::new(160, 3), AtomicBool::new(false));
    let prompt = [1, 7, 7, 7, 0, 7, 7, 7];
    let mut held = decoder.cache.lookup(&decoder.namespaces[0], &prompt);
    let blocks = decoder.cache.allocate(2).expect("room");
    let expected = fingerprints(0, &prompt);
    for (block, print) in blocks.iter().zip(&expected) {
        decoder.contents[block.id().index()].store(*print, Ordering::Relaxed);
    }
    held.extend(&prompt[..2 * SIZE], blocks)
        .expect("complete blocks");

    thread::scope(|scope| {
        let (decoder, over) = (&decoder, &over);
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            // SAFETY: always allowed.
            tell.send(unsafe { libc::pthread_self() })
                .expect("somebody listens");
            be_stopped(decoder, over);
        });
        let mut stopper = Stopper::new(told.recv().expect("the thread starts"), over);
        let workers = [2, 3].map(|seed| Worker::new(scope, decoder, seed));
        let mut rng = fastrand::Rng::with_seed(4);
        let mut stops = 0;
        while stops < STOPS {
            (0..rng.u32(0..3_000)).for_each(|_| std::hint::spin_loop());
            if !stopper.stop() {
                continue;
            }
            stops += 1;
            let succeeded = complete(&workers);
            assert_eq!(
                succeeded,
                Some(2 * REQUESTS),
                "stop {stops} stopped others too"
            );
            decoder.verify(&held, &expected);
            stopper.resume();
        }
    });
    drop(held);
    decoder.assert_empties();
}
