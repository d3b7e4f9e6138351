// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a footer. Checksums pass under `--cfg fuzzing`, so that what lies behind them is reached.
#![no_main]

use doris_storage::prune::{CmpOp, Predicate, Verdict};
use doris_storage::segment::Footer;
use doris_storage::zone_map::Scalar;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(footer) = Footer::decode(data, 1 << 30) else { return };
    for column in footer.columns.iter().take(8) {
        let cmp = |op, value| Predicate::Cmp { column: column.spec.id, op, value };
        let any = Predicate::And(vec![cmp(CmpOp::Eq, Scalar::Int(7)), cmp(CmpOp::Lt, Scalar::bytes("x"))]);
        footer.check_segment(&any);
        (0..footer.block_count().min(8)).for_each(|i| assert!(footer.check_block(i, &any).verdict != Verdict::All));
    }
});
