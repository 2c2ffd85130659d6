//! A thread that stops at an arbitrary point of the crate, for as long as it likes, stops no other
//! thread.
//!
//! A signal stops it: the handler waits on a pipe. Wherever the thread was just then, in the middle
//! of a lookup with an epoch pinned or of a publication half done, there it stays. (Not inside the
//! allocator, though, whose lock the others may need; then it is let run on, and stopped
//! elsewhere.)
//!
//! Where a signal comes is up to the scheduler: on a busy machine, again and again where the thread
//! was preempted. So from there the thread goes on by single steps, and the test chooses how many.
//! A machine that cannot step from within a handler stops the thread more often instead.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use kvtrie::Hold;

use crate::allocator;
use crate::decoder::{Decoder, SIZE, fingerprints};

/// Times that the thread is stopped, at least.
const STOPS: usize = 500;
/// Times that it is stopped at most, until it has been stopped at enough places.
const MOST_STOPS: usize = 5_000;
/// Different instructions at which it is stopped. Single steps find more than 200 in 500 stops,
/// without them it was as few as 17.
const PLACES: usize = 150;
/// Single steps from a signal to a stop, at most.
const STEPS: usize = 250;
/// Requests that each of the others completes meanwhile.
const REQUESTS: usize = 20;
/// How long they may take, on a machine however busy; without a stopped thread it is microseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Blocks of the cache.
const BLOCKS: usize = 160;
/// Blocks that all holds and publications need at once, with room to spare. Everything else may be
/// in the hands of the stopped thread, which has just evicted it.
const NEEDED: usize = 64;

/// What the handler made of the signal.
static ANSWER: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const STOPPED: u8 = 1;
const INSIDE_ALLOCATOR: u8 = 2;

/// The end of the pipe that the handler reads from.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Where the thread was when the signal came.
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Single steps until the thread stops.
static STEPS_LEFT: AtomicUsize = AtomicUsize::new(0);

/// Whether the thread traps after the next instruction.
#[cfg(target_arch = "x86_64")]
fn single_step(context: &mut libc::ucontext_t, on: bool) {
    /// The trap flag.
    const TRAP: i64 = 1 << 8;
    let flags = &mut context.uc_mcontext.gregs[libc::REG_EFL as usize];
    *flags = if on { *flags | TRAP } else { *flags & !TRAP };
}

/// The instruction that a signal came before.
fn place(context: &libc::ucontext_t) -> usize {
    #[cfg(target_arch = "x86_64")]
    return context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.pc as usize;
}

/// Stops a thread until a byte comes, after the single steps that are left.
extern "C" fn stop(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: a handler with `SA_SIGINFO` gets this pointer, and no other code uses it meanwhile.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    {
        let left = STEPS_LEFT.load(Ordering::SeqCst);
        STEPS_LEFT.store(left.saturating_sub(1), Ordering::SeqCst);
        single_step(context, left > 0);
        if left > 0 {
            return;
        }
    }
    if allocator::is_inside() {
        ANSWER.store(INSIDE_ALLOCATOR, Ordering::SeqCst);
        return;
    }
    PLACE.store(place(context), Ordering::SeqCst);
    let (pipe, mut byte) = (PIPE.load(Ordering::SeqCst), 0_u8);
    ANSWER.store(STOPPED, Ordering::SeqCst);
    // SAFETY: reads one byte into a place for one byte; allowed in a signal handler.
    unsafe { libc::read(pipe, (&raw mut byte).cast(), 1) };
}

/// Waits for something that the other thread does by itself.
fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "the thread lives no more");
        thread::yield_now();
    }
}

/// What the thread that is stopped shares with the one that stops it.
#[derive(Default)]
struct Life {
    /// Requests that it has completed.
    requests: AtomicUsize,
    over: AtomicBool,
}

/// Stops and resumes one thread, and tells it in the end that all is over.
struct Stopper<'s> {
    victim: libc::pthread_t,
    life: &'s Life,
    resume: UnixStream,
    _wait: UnixStream,
}

impl<'s> Stopper<'s> {
    fn new(victim: libc::pthread_t, life: &'s Life) -> Self {
        let (wait, resume) = UnixStream::pair().expect("two ends");
        PIPE.store(wait.as_raw_fd(), Ordering::SeqCst);
        // SAFETY: all zeroes are no flags, no signals blocked and no handler.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = stop as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // A single step ends in a trap.
        for signal in [libc::SIGUSR1, libc::SIGTRAP] {
            // SAFETY: the handler does nothing that a handler may not do.
            unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        }
        Self {
            victim,
            life,
            resume,
            _wait: wait,
        }
    }

    /// Stops the thread so many steps from wherever it is, unless it is inside the allocator then.
    fn stop(&self, steps: usize) -> bool {
        ANSWER.store(NONE, Ordering::SeqCst);
        STEPS_LEFT.store(steps, Ordering::SeqCst);
        // SAFETY: the thread runs until it is told that all is over.
        let sent = unsafe { libc::pthread_kill(self.victim, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        wait_until(|| ANSWER.load(Ordering::SeqCst) != NONE);
        ANSWER.load(Ordering::SeqCst) == STOPPED
    }

    /// Lets the thread live on for a while: it does not get far before it would be stopped anew, if
    /// not waited for. Then sleeps: on one core, both yielding it to each other, the thread would
    /// always be found where it yields.
    fn let_live(&self, rng: &mut fastrand::Rng) {
        let before = self.life.requests.load(Ordering::SeqCst);
        let some = rng.usize(1..5);
        wait_until(|| self.life.requests.load(Ordering::SeqCst) >= before + some);
        thread::sleep(Duration::from_micros(rng.u64(0..50)));
    }

    fn resume(&mut self) {
        self.resume.write_all(&[0]).expect("the handler reads it");
    }
}

impl Drop for Stopper<'_> {
    /// In a panic too, or the test would wait for the thread for ever. A byte too many does no
    /// harm.
    fn drop(&mut self) {
        self.life.over.store(true, Ordering::SeqCst);
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
fn be_stopped(decoder: &Decoder, life: &Life) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut kept = Vec::new();
    while !life.over.load(Ordering::SeqCst) {
        decoder.live(&mut rng, &mut kept);
        decoder.disturb(&mut rng);
        life.requests.fetch_add(1, Ordering::SeqCst);
    }
}

/// Has each worker complete its requests. Answers how many succeeded; none if they were not
/// completed.
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

/// Publishes a prefix, with the contents that belong to it.
fn publish(decoder: &Decoder, prompt: &[u32]) -> Hold {
    let mut hold = decoder.cache.lookup(&decoder.namespaces[0], prompt);
    let blocks = decoder.cache.allocate(prompt.len() / SIZE).expect("room");
    for (block, print) in blocks.iter().zip(fingerprints(0, prompt)) {
        decoder.contents[block.id().index()].store(print, Ordering::Relaxed);
    }
    hold.publish(prompt, blocks).expect("complete blocks");
    hold
}

/// Returns whether so much is left to the workers that none of their requests may fail.
fn has_room(decoder: &Decoder) -> bool {
    let stats = decoder.cache.stats();
    stats.free + stats.cached >= NEEDED
}

/// Stops the thread again and again, and has the workers complete their requests each time. Checks
/// the number that succeeded. Answers how often it stopped the thread, and at how many
/// instructions.
fn stop_often(
    mut stopper: Stopper<'_>,
    workers: &[Worker],
    check: impl Fn(usize),
) -> (usize, usize) {
    let mut rng = fastrand::Rng::with_seed(4);
    let (mut stops, mut places) = (0, HashSet::new());
    while stops < STOPS || (places.len() < PLACES && stops < MOST_STOPS) {
        stopper.let_live(&mut rng);
        if stopper.stop(rng.usize(0..STEPS)) {
            stops += 1;
            places.insert(PLACE.load(Ordering::SeqCst));
            let succeeded = complete(workers);
            check(succeeded.unwrap_or_else(|| panic!("stop {stops} stopped others too")));
            stopper.resume();
        }
    }
    (stops, places.len())
}

#[test]
fn a_stopped_thread_stops_nobody_else() {
    let (mut decoder, life) = (Decoder::new(BLOCKS, 3), Life::default());
    // A thread that yields is stopped there, again and again.
    decoder.pause = || {};
    let prompt = [1, 7, 7, 7, 0, 7, 7, 7];
    let (held, expected) = (publish(&decoder, &prompt), fingerprints(0, &prompt));
    thread::scope(|scope| {
        let (decoder, life) = (&decoder, &life);
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            // SAFETY: always allowed.
            let this = unsafe { libc::pthread_self() };
            tell.send(this).expect("the test listens");
            be_stopped(decoder, life);
        });
        let stopper = Stopper::new(told.recv().expect("the thread starts"), life);
        let workers = [2, 3].map(|seed| Worker::new(scope, decoder, seed));
        let crowded = Cell::new(0);
        let (stops, places) = stop_often(stopper, &workers, |succeeded| {
            decoder.verify(&held, &expected);
            if has_room(decoder) {
                assert_eq!(succeeded, workers.len() * REQUESTS, "there is room");
            } else {
                crowded.set(crowded.get() + 1);
            }
        });
        let crowded = crowded.get();
        println!("{stops} stops at {places} instructions, {crowded} without room");
        assert!(
            crowded <= stops / 10,
            "{crowded} of {stops} stops left no room"
        );
        assert!(places >= PLACES, "{stops} stops at {places} instructions");
    });
    drop(held);
    decoder.assert_empties();
}
