// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_run_comes_back_as_it_went() {
    let mut text = BytesColumn::default();
    ["a", "", "long enough"]
        .iter()
        .for_each(|s| text.push(s.as_bytes()));
    let vectors = vec![
        Vector {
            values: Values::I128(vec![-1, i128::MAX]),
            validity: Some(Bitmap::from_bools([true, false])),
        },
        Vector {
            values: Values::Bytes(text),
            validity: None,
        },
        Vector {
            values: Values::Fixed {
                width: 3,
                data: vec![1, 2, 3, 4, 5, 6],
            },
            validity: None,
        },
        Vector {
            values: Values::F64(vec![-0.0]),
            validity: None,
        },
    ];
    let spill = SharedSpill::create(Some(&MemorySpill)).unwrap();
    spill.write(&vectors[..1]).unwrap();
    let run = spill.write(&vectors).unwrap();
    assert_eq!(spill.read(run).unwrap(), vectors);
}

#[test]
fn without_a_store_memory_is_out() {
    assert_eq!(SharedSpill::create(None).err(), Some(Error::OutOfMemory));
}
