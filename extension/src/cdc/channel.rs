// SPDX-License-Identifier: Apache-2.0
//! The queue from the decoding to the applying process: a shared memory segment with one message queue in it.
use pgrx::prelude::*;

const QUEUE_BYTES: usize = 4 << 20;

/// One end of the queue.
pub(crate) struct Channel {
    segment: *mut pg_sys::dsm_segment,
    queue: *mut pg_sys::shm_mq_handle,
}

/// What a look into the queue found.
pub(crate) enum Received<'a> {
    /// A packet; valid until the next look.
    Packet(&'a [u8]),
    /// Nothing yet.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// What became of an attempt to send.
pub(crate) enum SendResult {
    /// It is sent.
    Sent,
    /// The queue is full.
    Full,
    /// The receiver is gone.
    Closed,
}

impl Channel {
    /// Makes the queue; this process receives. Returns the handle the sender needs.
    pub(crate) fn create() -> (Channel, u32) {
        // SAFETY: plain use of dynamic shared memory outside a transaction; the mapping is pinned, so that it lives
        // until the process ends.
        unsafe {
            let segment = pg_sys::dsm_create(QUEUE_BYTES, 0);
            pg_sys::dsm_pin_mapping(segment);
            let queue = pg_sys::shm_mq_create(pg_sys::dsm_segment_address(segment), QUEUE_BYTES);
            pg_sys::shm_mq_set_receiver(queue, pg_sys::MyProc);
            let handle = pg_sys::dsm_segment_handle(segment);
            (
                Channel {
                    segment,
                    queue: Self::attach_queue(queue, segment),
                },
                handle,
            )
        }
    }

    /// Attaches as the sender.
    pub(crate) fn open(handle: u32) -> Channel {
        // SAFETY: as in `create`; the handle was given by the receiver, which set the queue up before.
        unsafe {
            let segment = pg_sys::dsm_attach(handle);
            if segment.is_null() {
                error!("the receiver of the changes is gone");
            }
            pg_sys::dsm_pin_mapping(segment);
            let queue = pg_sys::dsm_segment_address(segment).cast::<pg_sys::shm_mq>();
            pg_sys::shm_mq_set_sender(queue, pg_sys::MyProc);
            Channel {
                segment,
                queue: Self::attach_queue(queue, segment),
            }
        }
    }

    /// The handle has to outlive every transaction.
    unsafe fn attach_queue(
        queue: *mut pg_sys::shm_mq,
        segment: *mut pg_sys::dsm_segment,
    ) -> *mut pg_sys::shm_mq_handle {
        // SAFETY: the queue lies in the segment; the memory context is put back.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let handle = pg_sys::shm_mq_attach(queue, segment, std::ptr::null_mut());
            pg_sys::MemoryContextSwitchTo(before);
            handle
        }
    }

    /// Sends a packet; waits while the queue is full. False if the receiver is gone.
    pub(crate) fn send(&mut self, packet: &[u8]) -> bool {
        // SAFETY: the queue's memory is mapped for the life of the process, the bytes for the call.
        let result = unsafe {
            pg_sys::shm_mq_send(
                self.queue,
                packet.len(),
                packet.as_ptr().cast(),
                false,
                true,
            )
        };
        result == pg_sys::shm_mq_result::SHM_MQ_SUCCESS
    }

    /// Sends a packet, or as much of it as there is room for: then the same packet has to be offered again.
    pub(crate) fn try_send(&mut self, packet: &[u8]) -> SendResult {
        // SAFETY: as in `send`.
        let result = unsafe {
            let bytes = packet.as_ptr().cast();
            pg_sys::shm_mq_send(self.queue, packet.len(), bytes, true, true)
        };
        match result {
            pg_sys::shm_mq_result::SHM_MQ_SUCCESS => SendResult::Sent,
            pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => SendResult::Full,
            _ => SendResult::Closed,
        }
    }

    /// Looks for a packet without waiting.
    pub(crate) fn receive(&mut self) -> Received<'_> {
        let (mut length, mut data) = (0, std::ptr::null_mut());
        // SAFETY: as in `send`; the bytes stay until the next call, which needs `self` again.
        unsafe {
            match pg_sys::shm_mq_receive(self.queue, &mut length, &mut data, true) {
                pg_sys::shm_mq_result::SHM_MQ_SUCCESS => {
                    Received::Packet(std::slice::from_raw_parts(data.cast::<u8>(), length))
                }
                pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => Received::Nothing,
                _ => Received::Closed,
            }
        }
    }

    /// Lets go of the queue; the other side is told.
    pub(crate) fn close(self) {
        // SAFETY: nothing of the segment is used afterwards.
        unsafe { pg_sys::dsm_detach(self.segment) }
    }
}
