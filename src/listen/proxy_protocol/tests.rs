use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn client(text: &str) -> Result<Option<SocketAddr>, Malformed> {
    match proxy_header(text.as_bytes()) {
        Ok(Some(header)) => {
            assert_eq!(header.length, text.len(), "{text:?}");
            Ok(header.client)
        }
        Ok(None) => panic!("{text:?} is not complete"),
        Err(malformed) => Err(malformed),
    }
}

/// A header of version 2 with this command, family and what follows them.
fn version_2_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xd4, 0x31, 0x01, 0xbb];

#[test]
fn what_is_no_header_of_version_1_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.00.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 0xc0.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 x 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1  2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP6 2001:db8::g 2001:db8::2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\n",
        "PROXY\tTCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
    ] {
        assert_eq!(client(text), Err(Malformed), "{text:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1_BYTES));
    assert_eq!(proxy_header(&long.as_bytes()[..MAX_V1_BYTES - 1]), Ok(None));
    assert_eq!(proxy_header(&long.as_bytes()[..MAX_V1_BYTES]), Err(Malformed));
}

#[test]
fn headers_of_version_1_name_the_client() {
    let found = |text: &str| client(text).unwrap().map(|client| client.to_string());
    assert_eq!(found("PROXY TCP4 192.0.2.1 198.51.100.1 54321 443\r\n").as_deref(), Some("192.0.2.1:54321"));
    assert_eq!(found("PROXY TCP6 2001:db8::1 2001:db8::2 0 443\r\n").as_deref(), Some("[2001:db8::1]:0"));
    assert_eq!(found("PROXY UNKNOWN\r\n"), None);
    assert_eq!(found("PROXY UNKNOWN ffff::1 whatever it says 1 2 3 4 5\r\n"), None);
    // The longest that the protocol allows.
    let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:f".repeat(6) + "...");
    assert_eq!(longest.len(), MAX_V1_BYTES);
    assert_eq!(found(&longest), None);
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    for (command, family) in [
        (0x22, 0x11),
        (0x2f, 0x11),
        (0x11, 0x11),
        (0x01, 0x11),
        (0x31, 0x11),
        (0x00, 0x11),
        (0x21, 0x12),
        (0x21, 0x22),
        (0x21, 0x31),
        (0x21, 0x32),
        (0x21, 0x10),
        (0x21, 0x01),
        (0x21, 0x41),
        (0x21, 0xff),
    ] {
        let header = version_2_of(command, family, &[1; 216]);
        assert_eq!(proxy_header(&header), Err(Malformed), "{command:#x} {family:#x}");
    }
    assert_eq!(proxy_header(&version_2_of(0x21, 0x11, &V4[..11])), Err(Malformed), "half an address");
    assert_eq!(proxy_header(&version_2_of(0x21, 0x21, &[1; 35])), Err(Malformed), "half an address");
    assert_eq!(proxy_header(&version_2_of(0x21, 0x11, &[0; MAX_V2_BYTES])), Err(Malformed), "too long");
    for vectors in [&[4_u8][..], &[4, 0], &[4, 0, 1], &[4, 0, 0, 4], &[4, 0xff, 0xff, 1], &[1, 0, 2, b'h']] {
        let header = version_2_of(0x21, 0x11, &[&V4, vectors].concat());
        assert_eq!(proxy_header(&header), Err(Malformed), "{vectors:?}");
    }
    let mut broken = version_2_of(0x21, 0x11, &V4);
    broken[11] = b'\r';
    assert_eq!(proxy_header(&broken), Err(Malformed));
}

#[test]
fn headers_of_version_2_name_the_client_and_more_is_skipped() {
    let found = |header: &[u8]| {
        let read = proxy_header(header).unwrap().unwrap();
        assert_eq!(read.length, header.len());
        read.client.map(|client| client.to_string())
    };
    assert_eq!(found(&version_2_of(0x21, 0x11, &V4)).as_deref(), Some("192.0.2.1:54321"));
    let vectors = [&V4[..], &[0x01, 0, 2, b'h', b'2'], &[0xee, 0, 0], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    assert_eq!(found(&version_2_of(0x21, 0x11, &vectors)).as_deref(), Some("192.0.2.1:54321"));
    let mut v6 = [0_u8; 36];
    (v6[0], v6[15], v6[33]) = (0xfe, 7, 80);
    assert_eq!(found(&version_2_of(0x21, 0x21, &v6)).as_deref(), Some("[fe00::7]:80"));
    assert_eq!(found(&version_2_of(0x20, 0x00, &[])), None, "LOCAL");
    assert_eq!(found(&version_2_of(0x20, 0x11, &V4)), None, "LOCAL, whose address does not count");
    assert_eq!(found(&version_2_of(0x20, 0x31, &[9; 216])), None, "LOCAL, whose family does not count");
    assert_eq!(found(&version_2_of(0x21, 0x00, &[9; 7])), None, "UNSPEC");
}

/// A simpler reader of version 1: takes the words apart and puts the only spelling of them together again.
fn naive_version_1(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, family, source, destination, source_port, destination_port] = words[..] else { return None };
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    let (source_port, destination_port): (u16, u16) =
        (source_port.parse().ok()?, destination_port.parse().ok()?);
    let is_family = |address: IpAddr| family == if address.is_ipv4() { "TCP4" } else { "TCP6" };
    let whole = format!("PROXY {family} {} {} {source_port} {destination_port}\r\n", words[2], words[3]);
    (is_family(source) && is_family(destination) && whole == line)
        .then_some(SocketAddr::new(source, source_port))
}

fn words() -> impl Strategy<Value = String> {
    let word =
        "PROXY|TCP4|TCP6|UNKNOWN|192\\.0\\.2\\.1|::1|2001:db8::[0-9a-f]{1,4}|[0-9]{1,6}|[+-]?0?[0-9]{1,3}|x";
    (vec((word, "[ \t]|  ?"), 1..7), "\r\n|\n|\r\r\n").prop_map(|(words, end)| {
        let text: String = words.into_iter().flat_map(|(word, space)| [word, space]).collect();
        format!("PROXY {}{end}", text.trim_end())
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_a_header_is_not_changed_by_what_follows(
        start in 0_usize..3,
        rest in vec(any::<u8>(), 0..300),
        more in vec(any::<u8>(), 0..40),
    ) {
        let input = [[V2_SIGNATURE, V1_SIGNATURE, b""][start], &rest].concat();
        let found = proxy_header(&input);
        if let Ok(Some(header)) = found {
            prop_assert!(header.length <= input.len() && header.length <= MAX_V2_BYTES);
            prop_assert_eq!(proxy_header(&[&input[..], &more].concat()), found);
            prop_assert_eq!(proxy_header(&input[..header.length]), found);
        }
    }

    #[test]
    fn pieces_say_the_same_as_the_whole(family in 0_usize..2, rest in vec(any::<u8>(), 36..60)) {
        let whole = version_2_of(0x21, [0x11, 0x21][family], &rest);
        let found = proxy_header(&whole);
        for end in 0..whole.len() {
            let early = proxy_header(&whole[..end]);
            prop_assert!(early == Ok(None) || early == found, "{} bytes: {:?}", end, early);
        }
    }

    #[test]
    fn version_1_is_read_as_a_simpler_reader_reads_it(line in words()) {
        let strict = proxy_header(line.as_bytes()).ok().flatten().and_then(|header| header.client);
        prop_assert_eq!(strict, naive_version_1(&line), "{:?}", line);
    }

    #[test]
    fn every_client_survives(source: SocketAddr, destination: SocketAddr) {
        if let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, destination) {
            let line = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            prop_assert_eq!(proxy_header(line.as_bytes()).unwrap().unwrap().client, Some(source));
            let mut rest = [from.ip().octets(), to.ip().octets()].concat();
            rest.extend_from_slice(&[from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
            prop_assert_eq!(proxy_header(&version_2_of(0x21, 0x11, &rest)).unwrap().unwrap().client, Some(source));
        }
        if let (SocketAddr::V6(from), SocketAddr::V6(to)) = (source, destination) {
            let client = SocketAddr::new(source.ip(), source.port());
            let line = format!("PROXY TCP6 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            prop_assert_eq!(proxy_header(line.as_bytes()).unwrap().unwrap().client, Some(client));
            let mut rest = [from.ip().octets(), to.ip().octets()].concat();
            rest.extend_from_slice(&[from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
            prop_assert_eq!(proxy_header(&version_2_of(0x21, 0x21, &rest)).unwrap().unwrap().client, Some(client));
        }
    }
}
