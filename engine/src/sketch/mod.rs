// SPDX-License-Identifier: Apache-2.0
//! Aggregate states that are values of their own: sets of integers, distinct counts, quantiles, top lists, event
//! chains.
//!
//! Each state has one shape: `add` a row, `merge` another state, `encode` to bytes, `decode` checked bytes. The bytes of
//! [`bitmap`], [`hll`] and [`quantile`] are stored in tables, so their first byte is a format version and what was once
//! written stays readable. The others only travel between the processes of one query.
//!
//! HyperLogLog and t-digest are written here rather than taken from a crate: a stored format must fix the hash, the
//! registers and the centroids, and the crates keep those private or free to change.
pub mod bitmap;
mod codec;
pub mod funnel;
pub mod hash;
pub mod hll;
pub mod number_hash;
pub mod quantile;
pub mod sequence;
pub mod topn;

pub use bitmap::{Bitmap, BitmapUnion, StoredBitmap};
pub use codec::{put_bytes, Reader, SketchError};
pub use hll::Hll;
pub use quantile::Quantile;
pub use topn::TopN;

#[cfg(test)]
mod tests;
