//! kvtrie itself behind one mutex: what lock-freedom adds, and nothing else.

use std::sync::Mutex;

use kvtrie::{BlockId, Hold};

use crate::contender::{Contender, Kvtrie};

/// One mutex around everything.
pub struct OneLock(Mutex<Kvtrie>);

impl OneLock {
    /// Does something while nobody else does anything.
    fn alone<R>(&self, body: impl FnOnce(&Kvtrie) -> R) -> R {
        body(&self.0.lock().expect("no thread panicked"))
    }
}

impl Contender for OneLock {
    type Hold = Hold;
    type Id = BlockId;
    const NAME: &str = "kvtrie in a mutex";

    fn new(blocks: usize) -> Self {
        Self(Mutex::new(Kvtrie::new(blocks)))
    }

    fn lookup(&self, prompt: &[u32], table: &mut Vec<BlockId>) -> Hold {
        self.alone(|cache| cache.lookup(prompt, table))
    }

    fn extend(&self, hold: &mut Hold, tokens: &[u32], fill: impl Fn(usize, &[u32])) -> bool {
        self.alone(|cache| cache.extend(hold, tokens, fill))
    }

    fn release(&self, hold: Hold) {
        self.alone(|cache| cache.release(hold));
    }

    fn index(id: BlockId) -> usize {
        Kvtrie::index(id)
    }

    fn at_rest(&self) -> usize {
        self.alone(Kvtrie::at_rest)
    }
}
