// SPDX-License-Identifier: Apache-2.0
//! How often to look for something new where nothing says that it is there.

/// The longest wait while each look finds something.
const BUSY_MS_MAX: u32 = 5;
/// The wait once nothing has been found for long.
const IDLE_MS: u32 = 10;
/// Looks in a row without success that are long.
const IDLE_LOOKS: u32 = 1000;

/// A lone event is seen within a millisecond or two. Where each look finds something, and where nothing happens, looks are
/// less often: each costs the processor time that others could use.
#[derive(Debug, Default)]
pub struct Pace {
    /// Something was found since the wait before.
    found: bool,
    /// Looks in a row that found something, and that found nothing.
    busy: u32,
    idle: u32,
}

impl Pace {
    /// Notes that there was something.
    pub fn found(&mut self) {
        self.found = true;
    }

    /// How long to wait before the next look, in milliseconds.
    pub fn wait_ms(&mut self) -> u32 {
        if std::mem::take(&mut self.found) {
            (self.busy, self.idle) = ((self.busy + 1).min(2 * BUSY_MS_MAX), 0);
        } else {
            (self.busy, self.idle) = (0, self.idle.saturating_add(1));
        }
        match self.idle {
            0..=IDLE_LOOKS => (self.busy / 2).max(1),
            _ => IDLE_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_events_are_looked_for_often_and_streams_of_them_less() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.found();
            assert_eq!(pace.wait_ms(), 1);
            assert_eq!(pace.wait_ms(), 1);
        }
        let waits: Vec<u32> = (0..20)
            .map(|_| {
                pace.found();
                pace.wait_ms()
            })
            .collect();
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!((waits[0], waits[19]), (1, BUSY_MS_MAX));
        assert_eq!(pace.wait_ms(), 1);
    }

    #[test]
    fn a_long_silence_is_looked_at_less_often() {
        let mut pace = Pace::default();
        assert!((0..IDLE_LOOKS).all(|_| pace.wait_ms() == 1));
        assert_eq!(pace.wait_ms(), IDLE_MS);
        pace.found();
        assert_eq!(pace.wait_ms(), 1);
    }
}
