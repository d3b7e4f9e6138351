// SPDX-License-Identifier: Apache-2.0
//! Which transactions the copy of a table already holds.
//!
//! A table is copied under an ordinary snapshot while the slot keeps the stream. A transaction of the stream is
//! skipped for that table if the snapshot saw it, and applied if not: nothing falls between copy and stream, nothing
//! comes twice, and the copy can be repeated table by table without a slot of its own. (An exported slot snapshot
//! was rejected: it dies with its connection, so no copy could be resumed, and every later table would need a
//! slot.) A transaction that committed behind the write position read after the snapshot cannot have been seen.
use crate::Lsn;

/// A snapshot in PostgreSQL's text form (`xmin:xmax:xip,...`) with the WAL position written up to when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySnapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
    /// Transactions that commit at or after this position are not in the copy.
    pub lsn: Lsn,
}

/// Not a snapshot's text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a snapshot")]
pub struct NotASnapshot(String);

impl CopySnapshot {
    /// Parses what `pg_current_snapshot()` shows.
    pub fn parse(text: &str, lsn: Lsn) -> Result<Self, NotASnapshot> {
        let bad = || NotASnapshot(text.to_owned());
        let mut parts = text.split(':');
        let mut number = || {
            parts
                .next()
                .and_then(|p| p.parse::<u64>().ok())
                .ok_or_else(bad)
        };
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(bad)?;
        let mut running = Vec::new();
        for xid in list.split(',').filter(|x| !x.is_empty()) {
            running.push(xid.parse().map_err(|_| bad())?);
        }
        if parts.next().is_some() || xmin > xmax {
            return Err(bad());
        }
        running.sort_unstable();
        Ok(Self {
            xmin,
            xmax,
            running,
            lsn,
        })
    }

    /// Whether the copy holds the transaction `xid` of the stream, committed at `commit`.
    ///
    /// The stream shows 32 bits of the id. Whatever commits before `lsn` is within 2^31 transactions of the
    /// snapshot, which makes the whole id unambiguous.
    pub fn holds(&self, xid: u32, commit: Lsn) -> bool {
        if commit >= self.lsn {
            return false;
        }
        let behind = (self.xmax as u32).wrapping_sub(xid) as i32;
        if behind <= 0 {
            return false;
        }
        let whole = self.xmax.saturating_sub(behind as u64);
        whole < self.xmin || self.running.binary_search(&whole).is_err()
    }

    /// The transactions that were running.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Whether a transaction of this id may have been running, or may not have begun.
    pub fn may_run(&self, xid: u32) -> bool {
        let begun = (self.xmax as u32).wrapping_sub(xid) as i32 > 0;
        !begun || self.running.iter().any(|running| *running as u32 == xid)
    }

    /// The first transaction id that had not begun.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The oldest transaction that was running, or `xmax`.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_transaction_is_not_in_the_copy() {
        let s = CopySnapshot::parse("100:110:100,105", Lsn(1000)).unwrap();
        let early = Lsn(900);
        assert!(s.holds(99, early) && s.holds(101, early) && s.holds(109, early));
        assert!(
            !s.holds(100, early)
                && !s.holds(105, early)
                && !s.holds(110, early)
                && !s.holds(500, early)
        );
        assert!(!s.holds(101, Lsn(1000)));
    }

    #[test]
    fn what_had_not_ended_may_run() {
        let s = CopySnapshot::parse("100:110:100,105", Lsn(0)).unwrap();
        assert!(s.may_run(100) && s.may_run(105) && s.may_run(110) && s.may_run(500));
        assert!(!s.may_run(99) && !s.may_run(101) && !s.may_run(109));
    }

    #[test]
    fn ids_wrap_round() {
        let base = 7u64 << 32;
        let s = CopySnapshot::parse(&format!("{}:{}:{}", base - 5, base + 3, base - 5), Lsn(10))
            .unwrap();
        assert!(!s.holds((base - 5) as u32, Lsn(1)));
        assert!(s.holds((base - 6) as u32, Lsn(1)) && s.holds((base + 2) as u32, Lsn(1)));
        assert!(!s.holds((base + 3) as u32, Lsn(1)));
    }

    #[test]
    fn other_text_is_an_error() {
        for text in ["", "1", "1:2", "2:1:", "a:b:", "1:2:x", "1:2:1:1"] {
            assert!(CopySnapshot::parse(text, Lsn(0)).is_err(), "{text}");
        }
        assert!(CopySnapshot::parse("1:1:", Lsn(0)).is_ok());
    }
}
