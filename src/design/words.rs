//! The words that more than one thread writes, and how often each operation does.
//!
//! A processor must own a cache line to write to it. If another core has the line, moving it takes
//! 40 to 350 ns, longer than most operations here. So the number of writes to such words decides
//! how the library scales. `ci/writes.sh` counts them in each operation, and fails if one more or
//! fewer is made than these tables say.
//!
//! # Operations
//!
//! | operation | read-modify-writes | stores |
//! |---|---|---|
//! | `lookup`, a hit of any length | 1: the state word of the last block found | |
//! | drop of its hold | 1: the same word | |
//! | `lookup`, a miss | 1: the state word of the namespace's root | |
//! | `peek`, `block_table` | none | |
//! | `allocate`, any number of free blocks | 2: the pool's head, the references | |
//! | `publish`, a run of n | 5: the bucket's head, the parent's state word, the queue, the group of the first block, the references | 1 + n: the new node's link, a slot for each block |
//! | `publish`, one block appended | 4: its own state word twice, that of the block before, the references | 2: its slot, the node's length |
//! | drop of a block that the caller owns | 2: the pool's head, the references | 1: its place on the stack |
//! | `allocate` of one block, by eviction of a run of one | 7: the hand, its state word, the candidates, the node's link, the link to the node, the parent's state word, the references | 1: its slot |
//!
//! * The first lookup that ends at a block since the gauge found it without a
//!   hold makes two more read-modify-writes and a store, to queue it.
//! * A group of blocks under a root is written by its first run only, until the namespace is
//!   cleared.
//! * The first block that is queued in a group of 64 costs one more, to name the group.
//! * The first release of a published block costs one more and a store: it lists the block as a
//!   candidate, and makes sure of its slot.
//! * Hints of the ranking are not counted. A lookup whose end was not used in the same tick stores
//!   its stamp, and counts the use in its own stripe; if that block is to be evicted first, it adds
//!   the block to a shared ring. A publication stores a stamp for each block.
//!   An eviction stores eight candidates, and a ghost for each node.
//! * A read-modify-write that fails is repeated, and counts again.
//!
//! # Words
//!
//! | word | where | written by | on its line |
//! |---|---|---|---|
//! | state of a block | the node | lookups that end there, holds, publication and eviction behind it | the states around it; for the first four blocks of a long run also the header |
//! | state of a root | the root | misses, prefixes published and evicted right under it | the root's header, which each lookup in the namespace reads |
//! | head of a bucket | `index` | publication and eviction of a node there | seven other heads |
//! | link of a node | the node | its publisher, and the eviction of it or of the next node of the list | its header |
//! | length of a node | the node | appending | its header |
//! | pool's head | `pool` | each call that takes or frees blocks | nothing |
//! | place on the stack | the pool | the thread that frees the block | seven other places |
//! | references | `shared` | each call that takes, frees or publishes blocks | nothing |
//! | candidates | `clock` | the first release of a block, eviction | those of 512 blocks |
//! | slot of a block | the clock | publication, eviction | seven other slots |
//! | hand, resumed position | the clock | eviction | |
//! | queue, groups | the gauge | the first hold of a block | those of 512 blocks |
//! | lent bits and their number | `lent` | lending and adopting | the bits of 512 blocks; nothing |
//! | root and generation of a namespace | `registry` | `clear` | the namespace, which each lookup in it reads |
//! | groups of a root | `groups` | the first run published in a group | those of 512 groups |
//! | retired bytes | `retired` | each batch of retired nodes, and its freeing | |
//! | stamp of a block | the ranking | publication, a lookup that ends there (once a tick), eviction behind it | fifteen other stamps |
//! | ticks | the ranking | a thread, once for each tick that it publishes | nothing |
//! | ghosts, candidates left | the ranking | eviction, publication | |
//! | last ends of `EvictFirst` | the ranking | what ends at such a block: uses, evictions, new terms | |
//! | epoch | crossbeam-epoch | about one in 128 guards of a thread | nothing |
//!
//! Statistics and counts of uses are not among them: each thread has a stripe of its own, however
//! many threads there are.
//!
//! A run of one to four blocks has its states on another line than its header, because searches for
//! other nodes of the bucket read the header. A prefetch of a whole run would take the lines behind
//! a short node too, which belong to other prompts. So a walk asks for no more lines than its
//! prompt has tokens for.
