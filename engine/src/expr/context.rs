// SPDX-License-Identifier: Apache-2.0
//! What evaluation needs from outside the tree, and what it remembers between batches.
//!
//! One context serves one thread and one execution: parameters do not change under it, so that the result of
//! a function over a whole dictionary is kept here and looked up by node and dictionary.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use doris_storage::vector::{BytesColumn, Vector};
use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::memory::{foresee, MemoryBudget, Reservation, LARGE_BYTES};
use crate::types::{DataType, Scalar};

/// Batches of a task, in bits.
const TASK_BITS: u32 = 32;

/// Most bytes of the texts that a function makes for one batch.
const TEXT_BYTES_MAX: usize = 256 << 20;
/// Texts of a batch take up to so many bytes whatever the budget.
const TEXT_BYTES_GRANTED: usize = 16 << 20;

/// Evaluates what only PostgreSQL can, on the thread that may call it.
pub trait ExternalEval {
    /// The result of external expression `id` for `rows` rows of its evaluated arguments.
    fn eval(&self, id: u32, args: &[Arc<Vector>], rows: usize, result: DataType) -> Result<Vector>;
}

/// The surroundings of an evaluation.
#[derive(Default)]
pub struct EvalContext<'a> {
    /// The values of [`ExprKind::Param`](super::ExprKind), by number; `None` is NULL.
    pub params: &'a [Option<Scalar>],
    /// Set on the driving thread only.
    pub external: Option<&'a dyn ExternalEval>,
    /// Set when the query is to stop.
    pub cancelled: Option<&'a AtomicBool>,
    /// Where the rows of the next batch stand in the input.
    place: Cell<u64>,
    dictionaries: RefCell<HashMap<u64, OverDictionary>>,
    /// What the texts made of a batch have reserved; `None`: nothing is.
    texts: Option<RefCell<Reservation>>,
}

/// A node's result for every entry of the dictionary it saw last.
struct OverDictionary {
    dict: Arc<BytesColumn>,
    /// `None`: some entry raised an error, which may belong to no row.
    result: Option<Arc<Vector>>,
}

/// Room for the texts of one column.
pub(super) struct TextRoom<'c> {
    texts: Option<&'c RefCell<Reservation>>,
    granted: usize,
    reserved: Cell<usize>,
}

impl TextRoom<'_> {
    /// Makes room for `more` bytes behind those of `out`; [`Error::OutOfMemory`] where all texts of a batch, the budget or the
    /// system do not allow for them.
    #[inline]
    pub fn make(&self, out: &mut Vec<u8>, more: usize) -> Result<()> {
        match out.capacity() - out.len() >= more {
            true => Ok(()),
            false => self.grow(out, more),
        }
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
        self.make(out, bytes.len())?;
        out.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn grow(&self, out: &mut Vec<u8>, more: usize) -> Result<()> {
        let needed = out.len().saturating_add(more);
        if needed > TEXT_BYTES_MAX {
            return Err(Error::OutOfMemory);
        }
        let twice = needed.max(out.capacity() * 2).min(TEXT_BYTES_MAX);
        // Texts grow by pieces that may be a few bytes each: by as little as that they would be copied over and over.
        let eighth = needed.saturating_add(needed / 8).min(TEXT_BYTES_MAX);
        let room = [twice, eighth]
            .into_iter()
            .find(|bytes| self.reserve(*bytes).is_ok());
        let capacity = match room {
            Some(bytes) => bytes,
            None => self.reserve(needed).map(|()| needed)?,
        };
        let reserved = out.try_reserve_exact(capacity - out.len());
        reserved.map_err(|_| Error::OutOfMemory)
    }

    /// Reserves `bytes` in all, if they are many.
    fn reserve(&self, bytes: usize) -> Result<()> {
        let Some(texts) = self.texts.filter(|_| bytes >= LARGE_BYTES) else {
            return foresee(bytes);
        };
        let mut texts = texts.borrow_mut();
        let more = bytes.saturating_sub(self.reserved.get());
        let all = texts.bytes() + more;
        texts.resize_with_floor(all, self.granted)?;
        self.reserved.set(self.reserved.get() + more);
        Ok(())
    }
}

impl<'a> EvalContext<'a> {
    /// A context of its parts; `external` on the driving thread only.
    pub fn new(
        params: &'a [Option<Scalar>],
        external: Option<&'a dyn ExternalEval>,
        cancelled: Option<&'a AtomicBool>,
    ) -> Self {
        Self {
            params,
            external,
            cancelled,
            place: Cell::new(0),
            dictionaries: RefCell::default(),
            texts: None,
        }
    }

    /// From now on, large texts are reserved before they are made.
    pub fn reserve_texts(&mut self, budget: &Arc<MemoryBudget>) {
        self.texts = Some(RefCell::new(Reservation::new(budget)));
    }

    /// Bytes that texts of this batch have reserved.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts
            .as_ref()
            .map_or(0, |texts| texts.borrow().bytes())
    }

    /// The texts made since so many bytes were reserved are gone, or others' to count.
    pub(crate) fn forget_texts(&self, bytes: usize) {
        if let Some(texts) = &self.texts {
            let mut texts = texts.borrow_mut();
            if bytes < texts.bytes() {
                // Giving back is never refused.
                let _ = texts.resize(bytes);
            }
        }
    }

    /// Room for the texts that a function makes of `rows` rows.
    pub(super) fn text_room(&self, rows: usize) -> TextRoom<'_> {
        TextRoom {
            texts: self.texts.as_ref(),
            // One row's text cannot be made in halves.
            granted: match rows {
                0..=1 => usize::MAX,
                _ => TEXT_BYTES_GRANTED,
            },
            reserved: Cell::new(0),
        }
    }

    /// A context with parameters and nothing else.
    pub fn with_params(params: &'a [Option<Scalar>]) -> Self {
        Self {
            params,
            ..Self::default()
        }
    }

    /// What comes now belongs to task `number` of the input; tasks are numbered in its order.
    pub fn start_task(&self, number: u64) {
        self.place.set(number << TASK_BITS);
    }

    /// The place of a batch's rows: greater than that of any batch before.
    pub(super) fn next_place(&self) -> u64 {
        let place = self.place.get();
        self.place.set(place + 1);
        place
    }

    /// Raises [`Error::Cancelled`] once the query is to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        match self.cancelled {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// The value of parameter `number`.
    pub(super) fn param(&self, number: usize) -> Result<Option<Scalar>> {
        let value = self.params.get(number).cloned();
        value.ok_or_else(|| Error::internal(format!("parameter {number} is not bound")))
    }

    /// `node`'s result for every entry of `dict`: remembered, or computed by `compute`; `None` when some entry
    /// raises an error.
    pub(super) fn over_dictionary(
        &self,
        node: u64,
        dict: &Arc<BytesColumn>,
        compute: impl FnOnce(&Arc<BytesColumn>) -> Result<Vector>,
    ) -> Option<Arc<Vector>> {
        if let Some(known) = self.dictionaries.borrow().get(&node) {
            if Arc::ptr_eq(&known.dict, dict) {
                return known.result.clone();
            }
        }
        let result = compute(dict).ok().map(Arc::new);
        let entry = OverDictionary {
            dict: Arc::clone(dict),
            result: result.clone(),
        };
        self.dictionaries.borrow_mut().insert(node, entry);
        result
    }

    /// Whether `node`'s result for `dict` is known already.
    pub(super) fn knows_dictionary(&self, node: u64, dict: &Arc<BytesColumn>) -> bool {
        self.dictionaries
            .borrow()
            .get(&node)
            .is_some_and(|known| Arc::ptr_eq(&known.dict, dict))
    }
}
