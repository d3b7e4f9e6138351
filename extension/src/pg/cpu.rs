// SPDX-License-Identifier: Apache-2.0
//! Whether this processor has the instructions that the library was compiled for.

/// Names the first instruction set that the compiler was allowed to use and this processor lacks. The standard
/// library's own detection is of no use here: it takes what the compiler was allowed to use for given.
#[cfg(target_arch = "x86_64")]
pub fn missing_feature() -> Option<&'static str> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    // SAFETY: every x86-64 processor has the instruction; leaves are asked for only where there are as many.
    #[allow(unused_unsafe)]
    let (basic, extended, amd) = unsafe {
        let basic = __cpuid(1);
        let extended = (__cpuid(0).eax >= 7).then(|| __cpuid_count(7, 0));
        let amd = (__cpuid(0x8000_0000).eax > 0x8000_0000).then(|| __cpuid(0x8000_0001));
        (basic, extended, amd)
    };
    let (ebx, ecx) = extended.map_or((0, 0), |leaf| (leaf.ebx, leaf.ecx));
    let amd = amd.map_or(0, |leaf| leaf.ecx);
    // Register and bit of each as Intel's manual gives them (volume 2A, CPUID).
    let needed = [
        ("ssse3", cfg!(target_feature = "ssse3"), basic.ecx, 9),
        ("fma", cfg!(target_feature = "fma"), basic.ecx, 12),
        ("sse4.1", cfg!(target_feature = "sse4.1"), basic.ecx, 19),
        ("sse4.2", cfg!(target_feature = "sse4.2"), basic.ecx, 20),
        ("popcnt", cfg!(target_feature = "popcnt"), basic.ecx, 23),
        ("avx", cfg!(target_feature = "avx"), basic.ecx, 28),
        // Without it, the instruction is another one, which gives other results.
        ("lzcnt", cfg!(target_feature = "lzcnt"), amd, 5),
        ("bmi1", cfg!(target_feature = "bmi1"), ebx, 3),
        ("avx2", cfg!(target_feature = "avx2"), ebx, 5),
        ("bmi2", cfg!(target_feature = "bmi2"), ebx, 8),
        ("avx512f", cfg!(target_feature = "avx512f"), ebx, 16),
        ("avx512dq", cfg!(target_feature = "avx512dq"), ebx, 17),
        ("avx512ifma", cfg!(target_feature = "avx512ifma"), ebx, 21),
        ("avx512cd", cfg!(target_feature = "avx512cd"), ebx, 28),
        ("avx512bw", cfg!(target_feature = "avx512bw"), ebx, 30),
        ("avx512vl", cfg!(target_feature = "avx512vl"), ebx, 31),
        ("avx512vbmi", cfg!(target_feature = "avx512vbmi"), ecx, 1),
        ("avx512vbmi2", cfg!(target_feature = "avx512vbmi2"), ecx, 6),
        ("gfni", cfg!(target_feature = "gfni"), ecx, 8),
        ("avx512vnni", cfg!(target_feature = "avx512vnni"), ecx, 11),
        (
            "avx512bitalg",
            cfg!(target_feature = "avx512bitalg"),
            ecx,
            12,
        ),
        (
            "avx512vpopcntdq",
            cfg!(target_feature = "avx512vpopcntdq"),
            ecx,
            14,
        ),
    ];
    needed
        .into_iter()
        .find(|&(_, compiled_for, register, bit)| compiled_for && register >> bit & 1 == 0)
        .map(|(name, ..)| name)
}

/// On other architectures, libraries are built for the least processor.
#[cfg(not(target_arch = "x86_64"))]
pub fn missing_feature() -> Option<&'static str> {
    None
}
