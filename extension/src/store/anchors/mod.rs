// SPDX-License-Identifier: Apache-2.0
//! Deletes, updates and row locks of segment rows.
//!
//! A segment is immutable, so what happens to one of its rows is written beside it, in an *anchor*: a tuple
//! of the TOAST relation filed under the row's number.
//!
//! - A *tombstone* says that its inserter deleted the row (or updated it, with the TID of the next version).
//!   A snapshot that sees the tombstone does not see the row. Who finds the tombstone of an open transaction
//!   waits for that transaction, as a heap's writer waits for xmax.
//! - A *live* anchor has no meaning of its own; it is a heap tuple on which PostgreSQL's row locks of the
//!   row are taken (FOR KEY SHARE ... FOR UPDATE, multixacts included). It is inserted frozen, so that it is
//!   there for everybody at once and stays when its creator rolls back. Deleting a row that has one locks it
//!   exclusively and turns it into a tombstone.
//!
//! Whether a row has an anchor is decided under a brief tuple lock on the row's TID (`LockTuple`), which is never held
//! while waiting for a transaction. Rows may also be deleted in bulk ([`super::delete_bitmaps`]): who is about to mark
//! a row, or has locked its anchor, looks for that with the registration lock held.
//!
//! An UPDATE that leaves the key alone lets FOR KEY SHARE pass, as in a heap: it claims the row FOR NO KEY UPDATE, and
//! its new version in the heap gets the KEY SHARE locks of the anchor ([`crate::pg::key_share`]). Who comes while it is
//! open locks both, the anchor for the case that it rolls back. Where such an update is made in bulk, the next version
//! is not known at first ([`super::entry::Anchor::Updating`]): a FOR KEY SHARE lock that comes meanwhile is on the
//! anchor alone, and the updater takes it along ([`super::successors`]).
//!
//! [`state`] says what there is, [`claim`] and [`lock`] change it, [`wait`] and [`follow`] tell who comes second what
//! to do, [`visibility`] says what a snapshot sees.
mod claim;
mod follow;
mod lock;
mod state;
mod visibility;
mod wait;

pub use claim::{claim, claim_as, release, row_state, write_tombstone, Claim, Request, RowState};
pub use follow::seen_before_moves;
pub use lock::lock;
pub use state::next_version;
pub use visibility::{alive, dead_positions, dead_rows_of, has_few, is_visible, latest_deleter};
pub use wait::report_busy;
