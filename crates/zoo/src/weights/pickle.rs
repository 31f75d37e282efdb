//! A machine for Python's pickles that builds what they describe and calls nothing.
//!
//! A pickle is a program for a stack: numbers, texts and containers are pushed, and objects are made by calling what a name means. Here
//! a name stays a name, and a call becomes an [`Object`]: what would be called, with which arguments, and what is put into the result
//! afterwards. So whatever lies beside the weights in a training's checkpoint (settings, dates, states of optimizers and of random
//! generators, whole modules) is data to walk over. Source of the instructions: Python's `pickletools.py`, protocols 0 to 5.

use std::collections::HashMap;
use std::io::{BufRead, Read};

/// Instructions that one pickle may have. A number of a long list is one; it takes 16 bytes here.
const MAX_INSTRUCTIONS: usize = 1 << 24;

/// Texts, containers and calls that one pickle may make. A tensor takes about ten.
const MAX_NODES: usize = 1 << 20;

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// Of no interest to whoever looks for tensors: nothing, a float, bytes, an integer that is too long.
    Other,
    /// A whole number; a truth value is 0 or 1.
    Int(i64),
    /// A node of the pickle, by its number.
    Node(u32),
}

/// What a value may refer to.
#[derive(Debug)]
pub(super) enum Node {
    /// A text.
    Text(Box<str>),
    /// A list or a set.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Box<[Value]>),
    /// A dictionary: pairs of key and value, in order.
    Dict(Vec<(Value, Value)>),
    /// The name of a class or function with that of its module, as in `collections.OrderedDict`.
    Name(Box<str>),
    /// What a call would make.
    Object(Box<Object>),
    /// What lies outside of the pickle under a name, as the elements of a tensor.
    Outside(Value),
}

/// What a call would make.
#[derive(Debug)]
pub(super) struct Object {
    /// What is called.
    pub callee: Value,
    /// A tuple, if nothing is damaged.
    pub arguments: Value,
    /// What `__setstate__` would be given, or a dictionary of attributes.
    pub state: Value,
    /// What was put in like into a dictionary.
    pub items: Vec<(Value, Value)>,
    /// What was put in like into a list.
    pub elements: Vec<Value>,
}

/// A pickle that ran to its end.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    /// What it describes.
    pub root: Value,
}

impl Pickle {
    /// Runs one pickle, and leaves the reader behind it.
    pub(super) fn read(pickle: &mut impl BufRead) -> Result<Self, String> {
        let mut machine = Machine::default();
        for _ in 0..MAX_INSTRUCTIONS {
            if let Some(root) = machine.step(pickle)? {
                return Ok(Self { nodes: machine.nodes, root });
            }
        }
        Err(format!(
            "the pickle has more than {MAX_INSTRUCTIONS} instructions, which no state dict needs; save the state dict alone"
        ))
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(node) => self.nodes.get(node as usize),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The name of a class or function.
    pub(super) fn name(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(values) => Some(values),
            Node::Tuple(values) => Some(values),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Machine {
    nodes: Vec<Node>,
    stack: Vec<Value>,
    /// Heights of the stack at which marks lie.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

/// What to say of a pickle that cannot have been written so.
fn damaged(what: impl std::fmt::Display) -> String {
    format!("the pickle is damaged ({what}); copy or download the file again")
}

impl Machine {
    /// One instruction; at the end of the pickle what it describes.
    fn step(&mut self, pickle: &mut impl BufRead) -> Result<Option<Value>, String> {
        let [code] = array(pickle)?;
        match code {
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.drop_one()?,
            b'1' => drop(self.since_mark()?),
            b'2' => self.duplicate()?,
            b'N' | 0x88 | 0x89 | b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a | 0x8b | b'F' | b'G' => {
                let value = number(code, pickle)?;
                self.stack.push(value);
            }
            b'S' | b'V' | b'T' | b'U' | b'X' | 0x8c | 0x8d => {
                let text = text(code, pickle)?;
                self.push(Node::Text(text.into()))?;
            }
            b'B' | b'C' | 0x8e | 0x96 | 0x97 => {
                skip_bytes(code, pickle)?;
                self.stack.push(Value::Other);
            }
            b'P' | b'Q' => self.outside(code, pickle)?,
            b'c' | b'i' | 0x93 => self.named(code, pickle)?,
            b'p' | b'q' | b'r' | 0x94 => self.keep(code, pickle)?,
            b'g' | b'h' | b'j' => self.fetch(code, pickle)?,
            b']' | b')' | b'}' | 0x8f | b'l' | b't' | b'd' | 0x91 | 0x85..=0x87 => self.container(code)?,
            b'a' | b'e' | b's' | b'u' | 0x90 | b'b' => self.fill(code)?,
            b'R' | b'o' | 0x81 | 0x92 => self.call(code)?,
            // The version, the length of a frame, and a buffer that may not be written to.
            0x80 => drop(array::<1>(pickle)?),
            0x95 => drop(array::<8>(pickle)?),
            0x98 => {}
            // Names by numbers of a registry that nobody fills.
            0x82 => self.registered(&array::<1>(pickle)?)?,
            0x83 => self.registered(&array::<2>(pickle)?)?,
            0x84 => self.registered(&array::<4>(pickle)?)?,
            _ => return Err(damaged(format!("byte {code:#04x} is no instruction"))),
        }
        Ok(None)
    }

    fn node(&mut self, node: Node) -> Result<Value, String> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!(
                "the pickle has more than {MAX_NODES} objects after as many instructions, which no state dict needs; save the state dict alone"
            ));
        }
        self.nodes.push(node);
        Ok(Value::Node((self.nodes.len() - 1) as u32))
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        let value = self.node(node)?;
        self.stack.push(value);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, String> {
        if self.stack.len() <= self.floor() {
            return Err(damaged("its stack is empty"));
        }
        self.stack.pop().ok_or_else(|| damaged("its stack is empty"))
    }

    /// What lies above the last mark, which goes.
    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or_else(|| damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn drop_one(&mut self) -> Result<(), String> {
        // A mark may be dropped as well.
        if self.marks.last().is_some_and(|&mark| mark == self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn duplicate(&mut self) -> Result<(), String> {
        let top = self.pop()?;
        self.stack.extend([top, top]);
        Ok(())
    }

    fn registered(&mut self, code: &[u8]) -> Result<(), String> {
        self.push(Node::Name(format!("extension {code:?}").into()))
    }

    fn outside(&mut self, code: u8, pickle: &mut impl BufRead) -> Result<(), String> {
        let name = match code {
            b'P' => {
                let line = line(pickle)?;
                self.node(Node::Text(line.into()))?
            }
            _ => self.pop()?,
        };
        self.push(Node::Outside(name))
    }

    /// A class or function by its name; `INST` calls it at once.
    fn named(&mut self, code: u8, pickle: &mut impl BufRead) -> Result<(), String> {
        let name = if code == 0x93 {
            let (name, module) = (self.pop()?, self.pop()?);
            let part = |value| match value {
                Value::Node(node) => match &self.nodes[node as usize] {
                    Node::Text(text) => Some(&**text),
                    _ => None,
                },
                _ => None,
            };
            let (Some(module), Some(name)) = (part(module), part(name)) else {
                return Err(damaged("a name is no text"));
            };
            format!("{module}.{name}")
        } else {
            let module = line(pickle)?;
            format!("{module}.{}", line(pickle)?)
        };
        let callee = self.node(Node::Name(name.into()))?;
        if code != b'i' {
            self.stack.push(callee);
            return Ok(());
        }
        let arguments = self.since_mark()?;
        let arguments = self.node(Node::Tuple(arguments.into()))?;
        self.object(callee, arguments)
    }

    fn keep(&mut self, code: u8, pickle: &mut impl BufRead) -> Result<(), String> {
        let number = match code {
            0x94 => self.memo.len() as u32,
            code => memo_number(code, pickle)?,
        };
        let top = self.pop()?;
        self.stack.push(top);
        self.memo.insert(number, top);
        Ok(())
    }

    fn fetch(&mut self, code: u8, pickle: &mut impl BufRead) -> Result<(), String> {
        let number = memo_number(code, pickle)?;
        let value = *self.memo.get(&number).ok_or_else(|| damaged(format!("nothing is in its memo under {number}")))?;
        self.stack.push(value);
        Ok(())
    }

    fn container(&mut self, code: u8) -> Result<(), String> {
        let node = match code {
            b']' | 0x8f => Node::List(Vec::new()),
            b')' => Node::Tuple(Box::default()),
            b'}' => Node::Dict(Vec::new()),
            b'l' | 0x91 => Node::List(self.since_mark()?),
            b't' => Node::Tuple(self.since_mark()?.into()),
            b'd' => Node::Dict(pairs(&self.since_mark()?)),
            short => {
                let count = usize::from(short - 0x84);
                let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                values.reverse();
                Node::Tuple(values.into())
            }
        };
        self.push(node)
    }

    /// Puts values into the container below them, or a state into an object.
    fn fill(&mut self, code: u8) -> Result<(), String> {
        let values = match code {
            b'a' | b'b' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.since_mark()?,
        };
        let target = self.pop()?;
        self.stack.push(target);
        // What is put into something that holds nothing, as into bytes, is lost, and was no weight.
        let Value::Node(target) = target else { return Ok(()) };
        let by_key = matches!(code, b's' | b'u');
        match (&mut self.nodes[target as usize], code) {
            (Node::Object(object), b'b') => object.state = values[0],
            (Node::Object(object), _) if by_key => object.items.extend(pairs(&values)),
            (Node::Object(object), _) => object.elements.extend(values),
            (Node::Dict(items), _) if by_key => items.extend(pairs(&values)),
            (Node::List(elements), b'a' | b'e' | 0x90) => elements.extend(values),
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, code: u8) -> Result<(), String> {
        let (callee, arguments) = match code {
            b'o' => {
                let mut values = self.since_mark()?;
                if values.is_empty() {
                    return Err(damaged("an object has no class"));
                }
                let callee = values.remove(0);
                (callee, self.node(Node::Tuple(values.into()))?)
            }
            code => {
                if code == 0x92 {
                    // Arguments by name: of no interest.
                    self.pop()?;
                }
                let arguments = self.pop()?;
                (self.pop()?, arguments)
            }
        };
        self.object(callee, arguments)
    }

    fn object(&mut self, callee: Value, arguments: Value) -> Result<(), String> {
        let object = Object { callee, arguments, state: Value::Other, items: Vec::new(), elements: Vec::new() };
        self.push(Node::Object(Box::new(object)))
    }
}

fn pairs(values: &[Value]) -> Vec<(Value, Value)> {
    values.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect()
}

fn array<const N: usize>(pickle: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    pickle.read_exact(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

/// A line of text, without its end. As much memory as the file has bytes.
fn line(pickle: &mut impl BufRead) -> Result<String, String> {
    let mut bytes = Vec::new();
    pickle.read_until(b'\n', &mut bytes).map_err(damaged)?;
    if bytes.pop() != Some(b'\n') {
        return Err(damaged("a line does not end"));
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned())
}

fn number(code: u8, pickle: &mut impl BufRead) -> Result<Value, String> {
    Ok(match code {
        b'N' => Value::Other,
        0x88 => Value::Int(1),
        0x89 => Value::Int(0),
        b'I' | b'L' => {
            let line = line(pickle)?;
            line.trim_end_matches('L').parse().map_or(Value::Other, Value::Int)
        }
        b'J' => Value::Int(i32::from_le_bytes(array(pickle)?).into()),
        b'K' => Value::Int(array::<1>(pickle)?[0].into()),
        b'M' => Value::Int(u16::from_le_bytes(array(pickle)?).into()),
        0x8a | 0x8b => {
            let length = match code {
                0x8a => u64::from(array::<1>(pickle)?[0]),
                _ => u64::from(u32::from_le_bytes(array(pickle)?)),
            };
            long(length, pickle)?
        }
        b'F' => {
            line(pickle)?;
            Value::Other
        }
        _ => {
            array::<8>(pickle)?;
            Value::Other
        }
    })
}

/// A whole number in two's complement, the lowest byte first; of more than 64 bits nothing.
fn long(length: u64, pickle: &mut impl BufRead) -> Result<Value, String> {
    if length > 8 {
        skip(length, pickle)?;
        return Ok(Value::Other);
    }
    let mut bytes = [0; 8];
    pickle.read_exact(&mut bytes[..length as usize]).map_err(damaged)?;
    let is_negative = length > 0 && bytes[length as usize - 1] & 0x80 != 0;
    if is_negative {
        bytes[length as usize..].fill(0xff);
    }
    Ok(Value::Int(i64::from_le_bytes(bytes)))
}

fn text(code: u8, pickle: &mut impl BufRead) -> Result<String, String> {
    let length = match code {
        b'S' | b'V' => {
            let line = line(pickle)?;
            let quoted = code == b'S' && line.len() >= 2 && line.starts_with(['\'', '"']);
            return Ok(if quoted { line[1..line.len() - 1].to_owned() } else { line });
        }
        b'U' | 0x8c => u64::from(array::<1>(pickle)?[0]),
        b'T' | b'X' => u64::from(u32::from_le_bytes(array(pickle)?)),
        _ => u64::from_le_bytes(array(pickle)?),
    };
    let mut bytes = Vec::new();
    // Grows with what is there, not with what is claimed.
    let found = pickle.take(length).read_to_end(&mut bytes).map_err(damaged)?;
    if (found as u64) < length {
        return Err(damaged("a text is longer than the file"));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn skip_bytes(code: u8, pickle: &mut impl BufRead) -> Result<(), String> {
    let length = match code {
        b'C' => u64::from(array::<1>(pickle)?[0]),
        b'B' => u64::from(u32::from_le_bytes(array(pickle)?)),
        // A buffer that would come from outside.
        0x97 => 0,
        _ => u64::from_le_bytes(array(pickle)?),
    };
    skip(length, pickle)
}

fn skip(length: u64, pickle: &mut impl BufRead) -> Result<(), String> {
    let passed = std::io::copy(&mut pickle.take(length), &mut std::io::sink()).map_err(damaged)?;
    if passed == length { Ok(()) } else { Err(damaged("bytes are missing")) }
}

fn memo_number(code: u8, pickle: &mut impl BufRead) -> Result<u32, String> {
    Ok(match code {
        b'q' | b'h' => array::<1>(pickle)?[0].into(),
        b'r' | b'j' => u32::from_le_bytes(array(pickle)?),
        _ => line(pickle)?.trim().parse().map_err(damaged)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pickle: &[u8]) -> Result<Pickle, String> {
        Pickle::read(&mut &pickle[..])
    }

    /// The texts that a dictionary has for keys, with the number under each.
    fn dict(pickle: &Pickle, value: Value) -> Vec<(String, Value)> {
        let items = match pickle.node(value) {
            Some(Node::Dict(items)) => items,
            Some(Node::Object(object)) => &object.items,
            other => panic!("{other:?}"),
        };
        items.iter().map(|&(key, value)| (pickle.text(key).unwrap_or("no text").to_owned(), value)).collect()
    }

    #[test]
    fn every_protocol_describes_the_same_dictionary() {
        // {'a': 7, 'b': -3} by pickle.dumps of protocols 0 to 5, and with OrderedDict.
        let plain: [&[u8]; 3] = [
            b"(dp0\nVa\np1\nI7\nsVb\np2\nI-3\ns.",
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x07X\x01\x00\x00\x00bq\x02J\xfd\xff\xff\xffu.",
            b"\x80\x05\x95\x13\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x07\x8c\x01b\x94J\xfd\xff\xff\xffu.",
        ];
        let ordered = b"\x80\x04\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94(\x8c\x01a\x94K\x07\x8c\x01b\x94\x8a\x01\xfdu.";
        for bytes in plain.into_iter().chain([&ordered[..]]) {
            let pickle = run(bytes).unwrap();
            let want = [("a".to_owned(), Value::Int(7)), ("b".to_owned(), Value::Int(-3))];
            assert_eq!(dict(&pickle, pickle.root), want, "{bytes:?}");
        }
    }

    #[test]
    fn a_container_that_is_filled_after_it_was_fetched_is_one() {
        // d = {}; [d, d], then d['a'] = 1 through the second.
        let pickle = run(b"\x80\x02](}q\x01h\x01X\x01\x00\x00\x00aK\x01se.").unwrap();
        let values = pickle.sequence(pickle.root).unwrap();
        assert_eq!(values.len(), 2);
        assert_eq!(dict(&pickle, values[0]), [("a".to_owned(), Value::Int(1))]);
        assert_eq!(values[0], values[1]);
    }

    #[test]
    fn what_is_put_into_an_object_stays_with_it() {
        // A defaultdict(list) with an item, and an object with a state, in a list.
        let pickle = run(b"\x80\x02]ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RX\x01\x00\x00\x00kK\x05sacm\nC\n)\x81}X\x01\x00\x00\x00wK\x09sba.").unwrap();
        let values = pickle.sequence(pickle.root).unwrap();
        assert_eq!(dict(&pickle, values[0]), [("k".to_owned(), Value::Int(5))]);
        let Some(Node::Object(object)) = pickle.node(values[1]) else { panic!("{:?}", pickle.node(values[1])) };
        assert_eq!(pickle.name(object.callee), Some("m.C"));
        assert_eq!(dict(&pickle, object.state), [("w".to_owned(), Value::Int(9))]);
    }

    #[test]
    fn numbers_too_long_and_floats_are_passed_over() {
        let pickle = run(
            b"\x80\x02](\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01G@\x00\x00\x00\x00\x00\x00\x00\x8a\x00\x88K\x02e.",
        )
        .unwrap();
        let want = [Value::Other, Value::Other, Value::Int(0), Value::Int(1), Value::Int(2)];
        assert_eq!(pickle.sequence(pickle.root), Some(&want[..]));
    }

    #[test]
    fn a_damaged_pickle_is_an_error() {
        for bytes in [&b""[..], b".", b"\x80\x02\x86.", b"t.", b"h\x05.", b"X\xff\xff\xff\xff.", b"\xff", b"(."] {
            assert!(run(bytes).is_err(), "{bytes:?}");
        }
    }
}
