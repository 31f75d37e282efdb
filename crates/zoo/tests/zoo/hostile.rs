//! Files that lie about themselves or carry a program: refused or inert, without a panic and without memory to match a lie.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use robustify_zoo::weights::Checkpoint;

/// An archive as `torch.save` writes it, around a pickle.
fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(pickle).unwrap();
    for (key, bytes) in storages {
        zip.start_file(format!("archive/data/{key}"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Opens the bytes as a file and reads everything that can be read.
fn read_all(bytes: &[u8]) -> Result<usize, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let checkpoint = Checkpoint::open(file.path()).map_err(|error| error.to_string())?;
    Ok(checkpoint
        .names()
        .filter(|name| checkpoint.read(name).is_ok_and(|entry| entry.values.len() * 4 <= 8 * bytes.len()))
        .count())
}

/// A protocol 2 pickle of `{"w": <tensor>, "x": <object>}` with a tensor of two floats.
fn with_object(object: &[u8]) -> Vec<u8> {
    let tensor = b"X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
                   X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR";
    [b"\x80\x02}(", tensor.as_slice(), b"X\x01\0\0\0x", object, b"u."].concat()
}

#[test]
fn a_program_in_a_pickle_is_inert_and_the_weights_beside_it_load() {
    let marker = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("executed-{}", std::process::id()));
    let command = format!("touch {}", marker.display());
    let argument = [b"X".as_slice(), &(command.len() as u32).to_le_bytes(), command.as_bytes()].concat();
    let python = format!("import os; os.system({command:?})");
    let python = [b"X".as_slice(), &(python.len() as u32).to_le_bytes(), python.as_bytes()].concat();
    let programs: [(&str, Vec<u8>); 7] = [
        ("GLOBAL and REDUCE", [b"cposix\nsystem\n", argument.as_slice(), b"\x85R"].concat()),
        ("STACK_GLOBAL", [b"\x8c\x02os\x8c\x06system\x93", argument.as_slice(), b"\x85R"].concat()),
        ("exec", [b"cbuiltins\nexec\n", python.as_slice(), b"\x85R"].concat()),
        ("INST", [b"(", argument.as_slice(), b"iposix\nsystem\n"].concat()),
        (
            "BUILD with a __setstate__",
            [b"ctypes\nSimpleNamespace\n)\x81}X\x0c\0\0\0__setstate__cposix\nsystem\nsb", argument.as_slice(), b"b"]
                .concat(),
        ),
        (
            "a call whose callable is the result of a call",
            [
                b"cbuiltins\ngetattr\nc__builtin__\n__import__\nX\x02\0\0\0os\x85RX\x06\0\0\0system\x86R",
                argument.as_slice(),
                b"\x85R",
            ]
            .concat(),
        ),
        (
            "a call as argument of OrderedDict",
            [b"ccollections\nOrderedDict\n](X\x01\0\0\0acposix\nsystem\n", argument.as_slice(), b"\x85R\x86e\x85R"]
                .concat(),
        ),
    ];
    let floats: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for (name, program) in programs {
        let bytes = archive(&with_object(&program), &[("0", &floats)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        match Checkpoint::open(file.path()) {
            Ok(checkpoint) => {
                assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["w"], "{name}");
                assert_eq!(checkpoint.read("w").unwrap().values, [1.5, -2.0], "{name}");
            }
            Err(error) => assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{name}: {error}"),
        }
        assert!(!marker.exists(), "{name} was executed");
    }
    let clean = archive(&with_object(b"N"), &[("0", &floats)]);
    assert_eq!(read_all(&clean), Ok(1));
}

#[test]
fn lies_about_lengths_are_errors_when_they_are_read() {
    let lie = |shape: &str, stride: &str, count: &str| {
        let pickle = format!(
            "\u{2}}}X\u{1}\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\u{7}\0\0\0storagectorch\nFloatStorage\nX\u{1}\0\0\x000X\u{3}\0\0\0cpu\
             I{count}\ntQI0\n(I{shape}\nt(I{stride}\nt\u{1}ccollections\nOrderedDict\n)RtRs."
        );
        // Instructions above 0x7f have no place in a string.
        let mut bytes = [b"\x80", pickle.as_bytes()].concat();
        let flag =
            bytes.windows(14).position(|window| window == b"\x01ccollections\n").unwrap_or_else(|| panic!("no flag"));
        bytes[flag] = 0x89;
        bytes
    };
    let storage = [0_u8; 8];
    assert_eq!(read_all(&archive(&lie("2", "1", "2"), &[("0", &storage)])), Ok(1), "the honest one");
    let huge = (1_u64 << 60).to_string();
    for (shape, stride, count) in
        [(huge.as_str(), "1", "2"), ("2", &huge, "2"), (&huge, "1", &huge), (&huge, "0", "2"), ("-1", "1", "2")]
    {
        let read = read_all(&archive(&lie(shape, stride, count), &[("0", &storage)]));
        assert_eq!(read, Ok(0), "{shape} {stride} {count}");
    }
    // A view that repeats one element opens, since it may not be wanted; reading it is refused.
    assert_eq!(read_all(&archive(&lie("1000000", "0", "2"), &[("0", &storage)])), Ok(0));
    // So is a storage that is shorter than the pickle says.
    assert_eq!(read_all(&archive(&lie("1000", "1", "1000"), &[("0", &storage)])), Ok(0));
    assert_eq!(read_all(&archive(&lie("2", "1", "2"), &[])), Ok(0), "no storage");
}

#[test]
fn pickles_that_only_cost_memory_are_refused() {
    let lists = [b"\x80\x02".as_slice(), &vec![b']'; 2 << 20], b"."].concat();
    let error = read_all(&archive(&lists, &[])).unwrap_err();
    assert!(error.contains("instructions"), "{error}");
    // 2^30 places of one list, in 30 lines, and of one with a tensor in it.
    let doubling: Vec<u8> = (0..30).flat_map(|_| *b"q\x01h\x01\x86").collect();
    let _ = read_all(&archive(&[b"\x80\x02]".as_slice(), &doubling, b"."].concat(), &[]));
    let tensors = with_object(b"N");
    let tensors = [&tensors[..tensors.len() - 1], &doubling, b"."].concat();
    assert!(read_all(&archive(&tensors, &[("0", &[0; 8])])).unwrap_err().contains("too many places"));
    let nested = [b"\x80\x02]".as_slice(), &vec![b'\x85'; 100_000], b"."].concat();
    assert!(read_all(&archive(&nested, &[])).unwrap_err().contains("levels"));
    // A list within itself ends.
    assert_eq!(read_all(&archive(b"\x80\x02]q\x01h\x01a.", &[])), Ok(0));
    let string = [b"\x80\x02X".as_slice(), &u32::MAX.to_le_bytes(), b"abc"].concat();
    assert!(read_all(&archive(&string, &[])).is_err());
}

#[test]
fn archives_that_pytorch_did_not_write_are_refused() {
    // The method of compression stands at byte 8 of an entry's own header, and at byte 10 of its record in the directory.
    let mut deflated = archive(&with_object(&[b']'; 1000]), &[]);
    let record = deflated.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    deflated[8] = 8;
    deflated[record + 10] = 8;
    let error = read_all(&deflated).unwrap_err();
    assert!(error.contains("compressed"), "{error}");
    let empty = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    assert!(read_all(&empty.finish().unwrap().into_inner()).is_err());
}

#[test]
fn an_archive_whose_entries_share_their_bytes_is_refused() {
    let honest = archive(&with_object(b"N"), &[("0", &[0; 4096])]);
    assert_eq!(read_all(&honest), Ok(1));
    // The last record of the directory once more for every letter; the end of the directory counts them.
    let (body, end) = honest.split_at(honest.len() - 22);
    let record = body.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    let (mut bytes, mut end, copies) = (body.to_vec(), end.to_vec(), b'a'..=b'z');
    for letter in copies.clone() {
        let name = bytes.len() + "archive/data/".len() + 46;
        bytes.extend(&body[record..]);
        bytes[name] = letter;
    }
    let number = |at: usize| u16::from_le_bytes([end[at], end[at + 1]]);
    let (count, size) = (number(10) + copies.len() as u16, number(12) + (copies.len() * (body.len() - record)) as u16);
    end[8..10].copy_from_slice(&count.to_le_bytes());
    end[10..12].copy_from_slice(&count.to_le_bytes());
    end[12..14].copy_from_slice(&size.to_le_bytes());
    let error = read_all(&[bytes, end].concat()).unwrap_err();
    assert!(error.contains("lies in other entries"), "{error}");
}

#[test]
fn a_header_longer_than_the_format_allows_is_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let claimed = 100_000_001_u64;
    std::fs::write(file.path(), [&claimed.to_le_bytes(), b"{".as_slice()].concat()).unwrap();
    // As long as it says, and next to nothing on the disk.
    file.as_file().set_len(claimed + 8).unwrap();
    let error = Checkpoint::open(file.path()).unwrap_err().to_string();
    assert!(error.contains("said to have 100000001 bytes, the format allows 100000000"), "{error}");
}

/// A damaged copy of a file that is fine.
fn damaged(name: &str, flips: &[(prop::sample::Index, u8)], keep: Option<prop::sample::Index>) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/checkpoints").join(name);
    let mut bytes = std::fs::read(path).unwrap();
    for (at, value) in flips {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics(
        name in prop::sample::select(vec!["zip.pth", "legacy.pth", "script.pt", "types.safetensors"]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        // An error or a value; what is too much for the file is not counted by `read_all`, and an abort fails the test.
        let bytes = damaged(name, &flips, keep);
        let _ = read_all(&bytes);
    }
}
