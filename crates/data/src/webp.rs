//! A look at the chunks of a WebP before its decoder makes room for them: it believes the size that each of them states.
//!
//! Source: RFC 9649, sections 2.3 to 2.7; RFC 6386, section 9.1, for the header of a lossy frame.

/// Fails, with a reason, unless every chunk ends within the file and every frame within the picture of `size`.
pub fn check(bytes: &[u8], size: (u32, u32)) -> Result<(), String> {
    chunks(bytes.get(12..).unwrap_or_default(), size)
}

fn chunks(mut rest: &[u8], size: (u32, u32)) -> Result<(), String> {
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        let name = String::from_utf8_lossy(&[a, b, c, d]).into_owned();
        let Some(data) = behind.get(..length) else {
            return Err(format!("truncated: its part {name:?} of {length} bytes is not all there"));
        };
        let frame = match &[a, b, c, d] {
            b"VP8 " => lossy(data),
            b"VP8L" => lossless(data),
            // A frame of an animation: 16 bytes of its own, then chunks.
            b"ANMF" => {
                chunks(data.get(16..).unwrap_or_default(), size)?;
                None
            }
            _ => None,
        };
        if let Some((width, height)) = frame.filter(|frame| frame.0 > size.0 || frame.1 > size.1) {
            return Err(format!("a frame of {width}x{height} pixels in a picture of {}x{}", size.0, size.1));
        }
        // Chunks have an even length; the last may be without its filling byte.
        rest = behind.get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}

/// Width and height of a lossy frame: 14 bits each, behind a tag and a start code of three bytes.
fn lossy(data: &[u8]) -> Option<(u32, u32)> {
    let size = data.get(6..10)?;
    let side = |at: usize| u32::from(u16::from_le_bytes([size[at], size[at + 1]]) & 0x3fff);
    Some((side(0), side(2)))
}

/// Width and height of a lossless frame: 14 bits each, less one, behind a byte.
fn lossless(data: &[u8]) -> Option<(u32, u32)> {
    let word = u32::from_le_bytes(data.get(1..5)?.try_into().ok()?);
    Some(((word & 0x3fff) + 1, (word >> 14 & 0x3fff) + 1))
}
