//! The expired batches, bare: a retired node is freed once, and after all that its readers did.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{Memory, both, explore, three};
use std::ptr::NonNull;

use kvtrie::model::{Batch, Expired};
use loom::sync::Arc;

/// A batch with one node, of which only the memory is there.
fn batch() -> Box<Batch> {
    let mut batch = Batch::default();
    let node = NonNull::from(Box::leak(Box::new(Memory::default())));
    // SAFETY: a memory of its own, which only the batch frees.
    assert!(unsafe { batch.add(node.cast(), 1, |node| drop_memory(node.cast())) });
    let batch = batch.take();
    // A reader that is done when the batch expires.
    // SAFETY: not yet freed.
    unsafe { node.as_ref() }.read();
    batch
}

/// Writes to a memory, as its next owner may, and frees it.
fn drop_memory(memory: NonNull<Memory>) {
    // SAFETY: leaked above, and freed once: loom reports a second time, and a leak.
    let memory = unsafe { Box::from_raw(memory.as_ptr()) };
    memory.write(1);
}

/// Takes batches if there are any, as the guard does, and frees them. Returns how many.
fn free(expired: &Expired) -> usize {
    if expired.is_empty() {
        return 0;
    }
    let batches = expired.take().into_iter().flatten();
    // SAFETY: no thread reads the nodes of an expired batch.
    batches.map(|batch| unsafe { batch.free() }).count()
}

/// Two batches expire while a third thread frees what it finds.
#[test]
fn expiry_versus_freeing() {
    explore("expiry_versus_freeing", 100, || {
        let expired = Arc::new(Expired::default());
        let pushers = [(); 2].map(|()| {
            let expired = Arc::clone(&expired);
            move || expired.push(batch())
        });
        let [one, two] = pushers;
        let ((), (), freed) = three(one, two, || free(&expired));
        assert_eq!(freed + free(&expired), 2, "each is freed once");
    });
}

/// Two threads free what they find of three batches, and one more expires: none is lost when the
/// rest is put back.
#[test]
fn freeing_versus_freeing() {
    explore("freeing_versus_freeing", 50, || {
        let expired = Arc::new(Expired::default());
        (0..3).for_each(|_| expired.push(batch()));
        let other = Arc::clone(&expired);
        let theirs = move || {
            other.push(batch());
            free(&other)
        };
        let (theirs, ours) = both(theirs, || free(&expired));
        assert_eq!(theirs + ours + free(&expired) + free(&expired), 4);
    });
}
