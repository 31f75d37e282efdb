//! Containers that a pickle has twice: a dictionary under two keys is written once and fetched the second time.
//!
//! Python's memo holds the object itself, which is still empty when it is put there and filled afterwards. That of
//! `pytorch-reader` holds a copy, and renews it after `BUILD` but not after `SETITEMS` and its like, so that the second
//! place would come out empty. Putting the filled container into the memo once more, under its old number, changes nothing
//! for Python and renews the copy: [`Watch`] finds where that is due, and [`renewed`] writes the pickle with it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};

use pytorch_reader::OpCode;

/// A container with tensors that is fetched after it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    /// Bytes of the pickle up to the end of the last change.
    pub at: u64,
    /// Its number in the memo.
    pub memo: u32,
}

/// A pickle with the containers put into the memo again where they were complete.
pub(super) fn renewed(pickle: &mut impl Read, stale: &[Stale], out: &mut impl Write) -> io::Result<()> {
    let mut passed = 0;
    for stale in stale {
        io::copy(&mut pickle.by_ref().take(stale.at - passed), out)?;
        passed = stale.at;
        out.write_all(&[OpCode::LongBinPut as u8])?;
        out.write_all(&stale.memo.to_le_bytes())?;
    }
    io::copy(pickle, out).map(drop)
}

/// A value on the stack of a pickle.
#[derive(Clone, Copy, Debug)]
struct Value {
    memo: Option<u32>,
    /// Whether a storage is in it.
    tensors: bool,
}

/// Follows the stack of a pickle, without the values.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stack: Vec<Value>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    /// Numbers that have been given, and whether a storage is in what has them.
    memo: HashMap<u32, bool>,
    /// Where the last change of a container ended that the memo does not know of.
    changed: HashMap<u32, u64>,
    stale: BTreeMap<u64, u32>,
}

impl Watch {
    /// The containers to be put into the memo again, in order of place.
    pub fn finish(self) -> Vec<Stale> {
        self.stale.into_iter().map(|(at, memo)| Stale { at, memo }).collect()
    }

    /// Takes note of an instruction. `memo` is the number that it names, and `end` the bytes of the pickle up to its end.
    /// None if the stack does not have what the instruction takes.
    pub fn pass(&mut self, code: OpCode, memo: Option<u32>, end: u64) -> Option<()> {
        use OpCode::*;
        match code {
            Proto | Frame | Stop | Ext1 | Ext2 | Ext4 | NextBuffer | ReadonlyBuffer => {}
            Mark => self.marks.push(self.stack.len()),
            Put | BinPut | LongBinPut | Memoize => self.put(memo)?,
            Get | BinGet | LongBinGet => self.fetch(memo?),
            Dup => self.stack.push(*self.stack.last()?),
            Pop if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            Pop => drop(self.take(1)?),
            PopMark => drop(self.take_to_mark()?),
            PersId => self.push(true),
            BinPersId => {
                self.take(1)?;
                self.push(true);
            }
            Tuple1 => self.make(1)?,
            Tuple2 | Reduce | NewObj | StackGlobal => self.make(2)?,
            Tuple3 | NewObjEx => self.make(3)?,
            Tuple | List | Dict | FrozenSet => {
                let tensors = self.take_to_mark()?;
                self.push(tensors);
            }
            // The reader renews its copy after this one.
            Build => {
                let tensors = self.take(1)?;
                if let Some(memo) = self.absorb(tensors)? {
                    self.changed.remove(&memo);
                }
            }
            Append => {
                let tensors = self.take(1)?;
                self.change(tensors, end)?;
            }
            SetItem => {
                let tensors = self.take(2)?;
                self.change(tensors, end)?;
            }
            Appends | SetItems | AddItems => {
                let tensors = self.take_to_mark()?;
                self.change(tensors, end)?;
            }
            // All others push one constant or empty container.
            _ => self.push(false),
        }
        Some(())
    }

    fn put(&mut self, memo: Option<u32>) -> Option<()> {
        let memo = memo.or_else(|| u32::try_from(self.memo.len()).ok())?;
        let top = self.stack.last_mut()?;
        top.memo = Some(memo);
        self.memo.insert(memo, top.tensors);
        self.changed.remove(&memo);
        Some(())
    }

    fn fetch(&mut self, memo: u32) {
        let tensors = self.memo.get(&memo).is_some_and(|&tensors| tensors);
        // What has no tensors may as well come out empty.
        if tensors && let Some(at) = self.changed.remove(&memo) {
            self.stale.insert(at, memo);
        }
        self.stack.push(Value { memo: Some(memo), tensors });
    }

    fn push(&mut self, tensors: bool) {
        self.stack.push(Value { memo: None, tensors });
    }

    /// Replaces values by what is made of them.
    fn make(&mut self, count: usize) -> Option<()> {
        let tensors = self.take(count)?;
        self.push(tensors);
        Some(())
    }

    /// Takes values off and says whether a storage is in them.
    fn take(&mut self, count: usize) -> Option<bool> {
        let floor = self.stack.len().checked_sub(count)?;
        Some(self.stack.drain(floor..).fold(false, |any, value| any | value.tensors))
    }

    fn take_to_mark(&mut self) -> Option<bool> {
        let floor = self.marks.pop()?;
        self.take(self.stack.len().checked_sub(floor)?)
    }

    /// Puts something into the container on top; its number, if it has one.
    fn absorb(&mut self, tensors: bool) -> Option<Option<u32>> {
        let top = self.stack.last_mut()?;
        top.tensors |= tensors;
        if let Some(memo) = top.memo {
            self.memo.insert(memo, top.tensors);
        }
        Some(top.memo)
    }

    fn change(&mut self, tensors: bool, end: u64) -> Option<()> {
        if let Some(memo) = self.absorb(tensors)? {
            self.changed.insert(memo, end);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": S, "b": S}` of a dictionary `S` that is filled by the given instructions.
    fn twice(fill: &[u8]) -> Vec<(OpCode, Option<u32>)> {
        let code = |byte: &u8| (OpCode::try_from(*byte).unwrap(), None);
        let mut codes: Vec<_> = b"}(U}".iter().map(code).collect();
        codes.push((OpCode::BinPut, Some(7)));
        codes.extend(fill.iter().map(code));
        codes.push((OpCode::ShortBinUnicode, None));
        codes.extend([(OpCode::BinGet, Some(7)), (OpCode::SetItems, None), (OpCode::Stop, None)]);
        codes
    }

    fn stale(codes: &[(OpCode, Option<u32>)]) -> Option<Vec<Stale>> {
        let mut watch = Watch::default();
        for (index, &(code, memo)) in codes.iter().enumerate() {
            watch.pass(code, memo, index as u64 + 1)?;
        }
        Some(watch.finish())
    }

    #[test]
    fn the_last_change_before_a_fetch_is_found() {
        // Filled in two batches, as Python does above a thousand entries, with a tensor in the first.
        assert_eq!(stale(&twice(b"(UUQu(UNu")), Some(vec![Stale { at: 14, memo: 7 }]));
        assert_eq!(stale(&twice(b"UUQs")), Some(vec![Stale { at: 9, memo: 7 }]));
    }

    #[test]
    fn what_the_reader_gets_right_needs_no_copy() {
        assert_eq!(stale(&twice(b"(UNu")), Some(vec![]), "no tensors");
        assert_eq!(stale(&twice(b"(UUQu}b")), Some(vec![]), "renewed by BUILD");
        let mut once = twice(b"(UUQu");
        once.retain(|(code, _)| *code != OpCode::BinGet);
        assert_eq!(stale(&once), Some(vec![]), "not fetched");
    }

    #[test]
    fn an_empty_stack_is_a_fault() {
        for codes in ["u", "(u", "(0s", "b", "R", "2"] {
            let codes: Vec<_> = codes.bytes().map(|byte| (OpCode::try_from(byte).unwrap(), None)).collect();
            assert_eq!(stale(&codes), None, "{codes:?}");
        }
        assert_eq!(stale(&[(OpCode::BinPut, Some(0))]), None);
    }

    #[test]
    fn numbers_are_given_again_in_place() {
        let (mut pickle, mut out) = (b"abcdef".as_slice(), Vec::new());
        let stale = [Stale { at: 2, memo: 1 }, Stale { at: 5, memo: 0x0102 }];
        renewed(&mut pickle, &stale, &mut out).unwrap();
        assert_eq!(out, b"abr\x01\0\0\0cder\x02\x01\0\0f");
    }
}
