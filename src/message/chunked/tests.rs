use super::*;

/// Content, trailers, and how many bytes were left over.
type Whole = (Vec<u8>, Vec<u8>, usize);

/// Decodes a whole body that arrives in pieces of `step` bytes.
fn decode(input: &[u8], step: usize) -> Result<Option<Whole>, BodyFault> {
    let mut decoder = ChunkDecoder::new();
    let (mut content, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        match decoder.decode(&input[start..end])? {
            Decoded::Data(range) => {
                content.extend_from_slice(&input[start + range.start..start + range.end]);
                start += range.end;
            }
            Decoded::NeedMore { consumed } => {
                start += consumed;
                if end == input.len() {
                    return Ok(None);
                }
                end = input.len().min(end + step);
            }
            Decoded::End { consumed, trailers } => {
                return Ok(Some((content, trailers, input.len() - start - consumed)));
            }
        }
    }
}

#[test]
fn funky_chunks_are_refused() {
    for input in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n",
        ";a\r\n",
        "5;a\n\r\nhello\r\n",
        "5;\0\r\nhello\r\n",
        "fffffffffffffffff\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "-1\r\n",
        "g\r\n",
    ] {
        assert!(decode(input.as_bytes(), 1000).is_err(), "{input:?}");
        assert!(decode(input.as_bytes(), 1).is_err(), "{input:?} byte by byte");
    }
    let endless = format!("5;{}", "x".repeat(17_000));
    assert!(decode(endless.as_bytes(), 100).is_err());
    let trailers = format!("0\r\nX: {}", "x".repeat(17_000));
    assert!(decode(trailers.as_bytes(), 100).is_err());
}

#[test]
fn good_bodies_are_the_same_in_any_pieces() {
    for step in 1..40 {
        let input = b"5;ext=\"1\"\r\nhello\r\nA\r\n0123456789\r\n00\r\nX-Sum:  9 \r\nY: z\r\n\r\nGET";
        let (content, trailers, rest) = decode(input, step).unwrap().unwrap();
        assert_eq!(content, b"hello0123456789");
        assert_eq!(trailers, b"X-Sum: 9\r\nY: z\r\n");
        assert!(rest <= 3);
        assert!(decode(b"5\r\nhel", step).unwrap().is_none());
    }
}

proptest::proptest! {
    #[test]
    fn what_is_encoded_is_decoded(parts in proptest::collection::vec(proptest::collection::vec(0_u8.., 1..70), 0..8), step in 1_usize..90) {
        let mut input = Vec::new();
        for part in &parts {
            encode_chunk_size(part.len(), &mut input);
            input.extend_from_slice(part);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        let (content, trailers, rest) = decode(&input, step).unwrap().unwrap();
        proptest::prop_assert_eq!(content, parts.concat());
        proptest::prop_assert!(trailers.is_empty());
        proptest::prop_assert_eq!(rest, 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in proptest::collection::vec(0_u8.., 0..300), step in 1_usize..20) {
        let _ = decode(&input, step);
    }
}
