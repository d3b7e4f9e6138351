// SPDX-License-Identifier: Apache-2.0
//! Sorting: whole inputs, and the first rows only.
//!
//! Keys become bytes that compare as the rows do ([`normal`]). A sort moves entries (the first 8 or 16 bytes of
//! the key, and a row number) and fetches the other columns at the end:
//! ```text
//! rows --> parts --> entries --(splitters from a sample)--> buckets --> each sorted by a task --> batches
//! ```
//! Text in a locale's order is ranked first ([`rank`]). Buckets leave in order while later ones are still being sorted.
//! Beyond memory: sorted runs in spill files, merged ([`external`]). The first rows only: [`top`].

pub mod normal;

mod rank;

pub mod full;

pub mod external;

pub mod top;

#[cfg(test)]
mod tests;
