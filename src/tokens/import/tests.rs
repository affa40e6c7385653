use std::fmt::Write as _;

use super::*;
use crate::clock::Clock;
use crate::domain::{Problems, Region, Regions};
use crate::tokens::random::dice::Dice;
use crate::tokens::{Lookup, Registry, Rules, Settings};

const START: u64 = 1_700_000_000;

struct Shop {
    folder: tempfile::TempDir,
    mint: Mint,
    clock: Clock,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let rules = Rules::from_settings(&Settings::default(), folder.path(), &mut Problems::new()).unwrap();
        let region = |name: &str, letter| Region { name: name.into(), letter, base_url: "https://x".into() };
        let regions = Regions::new(vec![region("us", 'u'), region("eu", 'e')]);
        let mint = Mint::open(&rules, &regions, Box::new(Dice::new(1)), clock.now()).unwrap();
        Self { folder, mint, clock }
    }

    fn import(&self, text: &str) -> (ImportCount, Vec<LineRefused>) {
        self.import_with(text, &defaults())
    }

    fn import_with(&self, text: &str, defaults: &ImportDefaults) -> (ImportCount, Vec<LineRefused>) {
        let mut refused = Vec::new();
        let act = Act::by("test", self.clock.now());
        let count = self
            .mint
            .import(act, &mut text.as_bytes(), defaults, &mut |_, lines| refused.extend_from_slice(lines))
            .unwrap();
        (count, refused)
    }

    fn find(&self, token: &str) -> Lookup {
        Registry::open(&self.mint, self.clock.now()).unwrap().find(token.as_bytes(), self.clock.now())
    }
}

fn defaults() -> ImportDefaults {
    ImportDefaults {
        workspace: None,
        region: None,
        plan: Plan::Business,
        scopes: vec![],
        role: Role::Owner,
        lifetime_seconds: None,
        allowed_networks: Vec::new(),
    }
}

fn hex(digest: Digest) -> String {
    digest.bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn refuses_lines_by_number_and_never_quotes_them() {
    let shop = Shop::new();
    let secret = "hunter2hunter2";
    let long = "x".repeat(5_000);
    let (sha, bad_sha) = (hex(Digest::sha256(b"t")), "zz".repeat(32));
    let lines = [
        secret.to_owned(),
        format!("{secret}\tws"),
        format!("{secret}\tws\tmars"),
        format!("{secret}\tws\tus\tmore"),
        format!("{secret}\tw s\tus"),
        format!("{secret} \u{e9}\tws\tus"),
        "short\tws\tus".to_owned(),
        format!("{secret}.{secret}.{secret}\tws\tus"),
        format!("{long}\tws\tus"),
        format!("{}\tws\tus", "x".repeat(513)),
        format!("sha256:{bad_sha}\tws\tus"),
        format!("sha256:{}\tws\tus", &sha[1..]),
        format!("hmac:{sha}\tws\tus"),
        format!("hmac:9:{sha}\tws\tus"),
        "\tws\tus".to_owned(),
    ];
    let (count, refused) = shop.import(&lines.join("\n"));
    assert_eq!((count.added, count.refused), (0, lines.len() as u64));
    let numbers: Vec<u64> = refused.iter().map(|refused| refused.line).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>());
    assert!(refused.iter().all(|refused| !refused.reason.contains("hunter2")));
    assert!(shop.mint.store().workspaces("", 10).unwrap().is_empty());
}

#[test]
fn every_token_of_a_file_is_bound_to_the_networks_that_were_named() {
    let shop = Shop::new();
    let bound = |texts: &[&str]| ImportDefaults {
        workspace: Some("ws".into()),
        region: Some("us".into()),
        allowed_networks: texts.iter().map(|text| Network::parse(text).unwrap()).collect(),
        ..defaults()
    };
    shop.import_with("hunter2hunter2\n", &bound(&["10.0.0.0/8", "10.0.0.0/8", "192.0.2.7"]));
    let Lookup::Found(entry) = shop.find("hunter2hunter2") else { panic!("it does not work") };
    let networks: Vec<String> = entry.allowed_networks().unwrap().iter().map(Network::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
    let many: Vec<String> = (0..17).map(|n| format!("10.0.{n}.0/24")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let act = Act::by("test", shop.clock.now());
    let refused = shop.mint.import(act, &mut "".as_bytes(), &bound(&many), &mut |_, _| {});
    assert!(matches!(refused, Err(Error::Invalid { what: "allowed network", .. })));
}

#[test]
fn refuses_defaults_that_do_not_exist() {
    let shop = Shop::new();
    let act = Act::by("test", shop.clock.now());
    for wrong in [
        ImportDefaults { region: Some("mars".into()), ..defaults() },
        ImportDefaults { workspace: Some("w s".into()), ..defaults() },
        ImportDefaults { scopes: vec!["a b".into()], ..defaults() },
    ] {
        assert!(shop.mint.import(act, &mut "".as_bytes(), &wrong, &mut |_, _| {}).is_err());
    }
}

#[test]
fn a_good_line_is_taken_although_its_neighbours_are_not() {
    let shop = Shop::new();
    let (count, refused) = shop.import("bad\n\n# a comment\r\nabcdef-_.123456\tws\tus\r\nalso bad\tws\tus\n");
    assert_eq!((count.lines, count.added, count.refused), (5, 1, 2));
    assert_eq!(refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [1, 5]);
    assert!(matches!(shop.find("abcdef-_.123456"), Lookup::Found(entry) if &*entry.workspace().id == "ws"));
}

#[test]
fn tokens_of_any_shape_work_from_text_and_from_hashes() {
    let shop = Shop::new();
    let (plain, hashed, keyed) = ("plain-token-0001", "hashed-token-001", "keyed-token-0001");
    let text = format!(
        "{plain}\tws-us\tus\nsha256:{}\tws-eu\teu\nhmac:1:{}\tws-eu\n",
        hex(Digest::sha256(hashed.as_bytes())),
        hex(shop.mint.peppers().digest(keyed.as_bytes())).to_uppercase(),
    );
    let (count, refused) = shop.import(&text);
    assert_eq!((count.added, refused), (3, vec![]));
    for token in [plain, hashed, keyed] {
        assert!(matches!(shop.find(token), Lookup::Found(_)), "{token}");
    }
    assert!(matches!(shop.find("other-token-0001"), Lookup::Unknown));
    let (again, _) = shop.import(&text);
    assert_eq!((again.added, again.known), (0, 3));
    let (as_text, _) = shop.import(&format!("{hashed}\tws-eu\teu"));
    assert_eq!((as_text.added, as_text.known), (0, 1));
    for file in std::fs::read_dir(shop.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, plain.as_bytes()).is_none(), "a plain text is at rest");
    }
}

#[test]
fn a_line_can_leave_workspace_and_region_to_the_command() {
    let shop = Shop::new();
    let named = ImportDefaults { workspace: Some("ws".into()), region: Some("eu".into()), ..defaults() };
    let (count, _) = shop.import_with("only-a-token-0001\n", &named);
    assert_eq!(count.added, 1);
    assert_eq!(shop.mint.workspace("ws").unwrap().region, "eu");
    let (again, refused) = shop.import("only-a-token-0002\tws\tus\nonly-a-token-0003\tnew\n");
    assert_eq!(again.refused, 2);
    assert!(refused[0].reason.contains("lives in region `eu`"), "{refused:?}");
    assert!(refused[1].reason.contains("--region"), "{refused:?}");
}

#[test]
fn a_long_file_comes_in_batches() {
    let shop = Shop::new();
    let mut text = String::new();
    for n in 0..12_500 {
        let region = ["us", "eu"][n % 2];
        writeln!(text, "tk_{n:032x}\tws-{:04}-{region}\t{region}", n % 100).unwrap();
    }
    let mut reports = Vec::new();
    let act = Act::by("test", shop.clock.now());
    let count = shop
        .mint
        .import(act, &mut text.as_bytes(), &defaults(), &mut |count, _| reports.push(count.added))
        .unwrap();
    assert_eq!((count.lines, count.added), (12_500, 12_500));
    assert_eq!(reports, [5_000, 10_000, 12_500]);
    assert!(matches!(shop.find(&format!("tk_{:032x}", 12_499)), Lookup::Found(_)));
}
