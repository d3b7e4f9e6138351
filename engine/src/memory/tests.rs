// SPDX-License-Identifier: Apache-2.0
use super::*;

struct Pool(Arc<AtomicUsize>);

impl MemoryParent for Pool {
    fn take(&self, bytes: usize) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }
    fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_refused_reservation_changes_nothing() {
    let budget = MemoryBudget::new(100);
    let mut held = Reservation::new(&budget);
    held.grow(60).unwrap();
    assert_eq!(held.grow(41), Err(Error::OutOfMemory));
    assert_eq!((held.bytes(), budget.used_bytes()), (60, 60));
    drop(held);
    assert_eq!((budget.used_bytes(), budget.peak_bytes()), (0, 60));
}

#[test]
fn what_the_system_has_not_is_refused() {
    let budget = MemoryBudget::new(usize::MAX);
    let mut held = Reservation::new(&budget);
    held.grow(1 << 20).unwrap();
    assert_eq!(held.grow(1 << 60), Err(Error::OutOfMemory));
    assert_eq!(
        held.resize_with_floor(1 << 60, usize::MAX),
        Err(Error::OutOfMemory)
    );
    held.resize_with_floor(2 << 20, usize::MAX).unwrap();
    assert_eq!((held.bytes(), budget.used_bytes()), (2 << 20, 2 << 20));
}

#[test]
fn the_parent_gets_everything_back() {
    let left = Arc::new(AtomicUsize::new(3 << 20));
    let budget = MemoryBudget::with_parent(usize::MAX, Some(Box::new(Pool(Arc::clone(&left)))));
    budget.try_reserve(10).unwrap();
    assert_eq!(left.load(Ordering::Relaxed), 2 << 20);
    assert!(budget.try_reserve(4 << 20).is_err());
    budget.release(10);
    drop(budget);
    assert_eq!(left.load(Ordering::Relaxed), 3 << 20);
}

#[test]
fn what_an_operator_cannot_do_without_is_granted() {
    let budget = MemoryBudget::new(1000);
    let mut held = Reservation::new(&budget);
    held.grow(1000).unwrap();
    let mut working = Reservation::new(&budget);
    assert_eq!(working.resize_with_floor(50, 49), Err(Error::OutOfMemory));
    working.resize_with_floor(49, 49).unwrap();
    assert_eq!((working.bytes(), budget.used_bytes()), (49, 1049));
    assert_eq!(held.grow(1), Err(Error::OutOfMemory));
    working.hold(60);
    working.hold(10);
    assert_eq!(working.bytes(), 60);
    drop(held);
    drop(working);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn bytes_are_counted_by_purpose() {
    let before = reserved_bytes(Purpose::Loads);
    let loads = MemoryBudget::of(Purpose::Loads, 1000, None);
    let mut held = Reservation::new(&loads);
    held.resize(600).unwrap();
    assert!(held.grow(600).is_err());
    held.hold(1200);
    assert_eq!(reserved_bytes(Purpose::Loads), before + 1200);
    drop(held);
    assert_eq!(reserved_bytes(Purpose::Loads), before);
}

#[test]
fn a_block_that_is_not_to_be_had_is_an_error_and_no_abort() {
    const TOO_MUCH: usize = isize::MAX as usize / 8;
    assert!(foresee(TOO_MUCH).is_err());
    assert!(foresee(LARGE_BYTES).is_ok());
    assert_eq!(vec::<u64>(TOO_MUCH), Err(Error::OutOfMemory));
    assert!(vec::<u64>(1 << 20).unwrap().capacity() >= 1 << 20);
    let refused = catching(|| Ok(room::<u64>(TOO_MUCH).len()));
    assert_eq!(refused, Err(Error::OutOfMemory));
    assert_eq!(catching(|| Ok(room::<u64>(7).len())), Ok(0));
    let other = catch_unwind(|| catching(|| -> Result<()> { panic!("something else") }));
    assert!(other.is_err());
}
