//! Configuration files, good and bad, as `tollgate check` and `tollgate serve` meet them.
//!
//! Each file of `tests/config/bad/` has one mistake. Its first line says which: `# expect: LINE:CODE: PIECE OF THE
//! FIX`, with `FILE:` before the line if the mistake is in another file.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "pages/blocks.rs"]
mod blocks;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use blocks::blocks;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");
const DEADLINE: Duration = Duration::from_secs(20);

/// A folder with a certificate, another key, and everything else that the files name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned(), "api.example.com".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let table = fs::read_to_string("config/endpoints.toml").unwrap();
    for (name, text) in [
        ("cert.pem", certified.cert.pem()),
        ("ca.pem", certified.cert.pem()),
        ("key.pem", certified.signing_key.serialize_pem()),
        ("other-key.pem", other.serialize_pem()),
        ("garbage.pem", "-----BEGIN CERTIFICATE-----\nnot base64\n".to_owned()),
        ("jwks.json", r#"{"keys":[]}"#.to_owned()),
        ("schema.json", r#"{"type":"object"}"#.to_owned()),
        ("wrong-schema.json", r#"{"type":"thing"}"#.to_owned()),
        ("foreign-schema.json", r#"{"$ref":"https://schemas.example/a.json"}"#.to_owned()),
        ("bad.pepper", "1:too short\n".to_owned()),
        ("endpoints.toml", table),
        ("bad-table.toml", fs::read_to_string("tests/config/files/bad-table.toml").unwrap()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    for secret in ["key.pem", "bad.pepper"] {
        fs::set_permissions(folder.path().join(secret), Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// The TOML files of a folder by name, in order.
fn files(folder: &str) -> Vec<(String, PathBuf)> {
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    files
}

fn tollgate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env_remove("TOLLGATE_CONFIG").env_remove("TOLLGATE_TEST_UNSET");
    command.env("TOLLGATE_TEST_HOST", "127.0.0.1").env("TOLLGATE_TEST_PORT", "9");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    tollgate(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a bad file's first line expects.
struct Expected {
    file: String,
    line: u64,
    code: String,
    fix: String,
}

impl Expected {
    fn read(name: &str, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let parts = first.strip_prefix("# expect: ").unwrap_or_else(|| panic!("{name}: {first}"));
        let (place, fix) = parts.split_once(": ").unwrap();
        let mut place: Vec<&str> = place.split(':').collect();
        let code = place.pop().unwrap().to_owned();
        let line = place.pop().unwrap().parse().unwrap();
        Self { file: place.pop().unwrap_or(name).to_owned(), line, code, fix: fix.to_owned() }
    }
}

#[test]
fn each_bad_file_is_told_by_line_reason_and_fix() {
    let folder = folder();
    let files = files("tests/config/bad");
    assert!(files.len() >= 40, "{}", files.len());
    let mut wrong = Vec::new();
    for (name, path) in &files {
        fs::copy(path, folder.path().join(name)).unwrap();
        let expected = Expected::read(name, path);
        if let Err(difference) = told_as_expected(folder.path(), name, &expected) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn told_as_expected(folder: &Path, name: &str, expected: &Expected) -> Result<(), String> {
    let found = run(folder, &["check", "--config", name, "--format", "json"]);
    let list: Vec<Value> =
        serde_json::from_slice(&found.stdout).map_err(|error| format!("{error}: {found:?}"))?;
    let [one] = &list[..] else { return Err(format!("not one mistake: {list:#?}")) };
    let field = |name: &str| one[name].as_str().unwrap_or_default();
    let Expected { file, line, code, fix } = expected;
    if found.status.code() != Some(1)
        || (field("file"), one["line"].as_u64(), field("code")) != (file, Some(*line), code)
        || !field("fix").contains(fix)
        || field("reason").len() < 10
        || one["column"].as_u64().is_none_or(|column| column == 0)
    {
        return Err(format!("expected {file}:{line}:{code}: {fix}, found {one:#}"));
    }
    let shown = run(folder, &["check", "--config", name]);
    let lines = text(&shown.stderr);
    let place = format!("--> {}:{}:{}\n", field("file"), one["line"], one["column"]);
    let caret = "^".repeat((one["end_column"].as_u64().unwrap() - one["column"].as_u64().unwrap()) as usize);
    let pieces = [
        format!("error[{code}]: {}\n", field("reason")),
        place,
        format!("{line} | {}\n", field("source")),
        format!("{caret} {}", field("key")).trim_end().to_owned(),
        format!("= fix: {}\n\ntollgate: the configuration has 1 mistake\n", field("fix")),
    ];
    let missing = pieces.iter().find(|piece| !lines.contains(piece.as_str()));
    if shown.status.code() != Some(1) || missing.is_some() || !shown.stdout.is_empty() {
        return Err(format!("the text says something else than the JSON: {missing:?}\n{lines}"));
    }
    let served = refused_by_serve(folder, name)?;
    if served == lines { Ok(()) } else { Err(format!("serve tells something else: {served}")) }
}

/// What `serve` says before it ends with exit code 1; an error if it starts.
fn refused_by_serve(folder: &Path, name: &str) -> Result<String, String> {
    let mut command = tollgate(folder, &["serve", "--config", name]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("serve started".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        Some(1) => Ok(text(&output.stderr).to_owned()),
        code => Err(format!("serve ended with {code:?}: {}", text(&output.stderr))),
    }
}

#[test]
fn each_good_file_passes() {
    let folder = folder();
    for (name, path) in files("tests/config/good") {
        fs::copy(&path, folder.path().join(&name)).unwrap();
        let checked = run(folder.path(), &["check", "--config", &name]);
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let (first, summary) = text(&checked.stdout).split_once('\n').unwrap();
        assert_eq!((first, text(&checked.stderr)), (&*format!("{name}: no mistakes"), ""));
        assert!(summary.contains(" endpoint") && summary.contains(" metric series"), "{summary}");
        let json = run(folder.path(), &["check", "--config", &name, "--format", "json"]);
        assert_eq!((json.status.code(), text(&json.stdout)), (Some(0), "[]\n"), "{name}");
    }
}

#[test]
fn each_warning_is_told_and_stops_nothing_unless_it_is_denied() {
    let folder = folder();
    fs::write(folder.path().join("open-key.pem"), fs::read(folder.path().join("key.pem")).unwrap()).unwrap();
    fs::set_permissions(folder.path().join("open-key.pem"), Permissions::from_mode(0o644)).unwrap();
    let files = files("tests/config/warn");
    assert!(files.len() >= 20, "{}", files.len());
    let mut wrong = Vec::new();
    for (name, path) in &files {
        fs::copy(path, folder.path().join(name)).unwrap();
        let Expected { file, line, code, fix } = Expected::read(name, path);
        let check = |more: &[&str]| run(folder.path(), &[&["check", "--config", name], more].concat());
        let found = check(&["--format", "json"]);
        let list: Vec<Value> = serde_json::from_slice(&found.stdout).unwrap();
        let told = |one: &Value| {
            let fields = ["severity", "file", "code"].map(|field| one[field].as_str().unwrap_or_default());
            let says = one["fix"].as_str().is_some_and(|text| text.contains(&fix));
            fields == ["warning", &file, &code] && one["line"].as_u64() == Some(line) && says
        };
        let shown = check(&[]);
        let title = format!("warning[{code}]: ");
        let denied = check(&["--deny-warnings"]);
        let is_told = list.len() == 1 && told(&list[0]) && text(&shown.stderr).contains(&title);
        let codes = (found.status.code(), shown.status.code(), denied.status.code());
        if !is_told || codes != (Some(0), Some(0), Some(1)) {
            wrong.push(format!("{name}: {codes:?} {list:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The lines and codes of the mistakes of a text.
fn told(configuration: &str) -> Vec<(u64, String)> {
    let folder = folder();
    fs::write(folder.path().join("x.toml"), configuration).unwrap();
    let found = run(folder.path(), &["check", "--config", "x.toml", "--format", "json"]);
    let list: Vec<Value> = serde_json::from_slice(&found.stdout).unwrap();
    list.iter().map(|one| (one["line"].as_u64().unwrap(), one["code"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn mistakes_of_every_kind_are_told_at_once_and_in_order() {
    let found = told(
        r#"[listen]
plain = ["0.0.0.0:0"]
workers = "two"
max_filds = 5
max_streams = -1

[admin]
address = "0.0.0.0:9901"

[upstream]
servers = ["${TOLLGATE_TEST_UNSET}"]

[endpoints]
tables = ["nowhere.toml"]

[[limits.policies]]
name = "a"
per = ["tokn"]
quota = "1 per day"
endpoints = ["listSources"]

[[limits.policies]]
name = "b"
per = ["token"]
quota = "often"
"#,
    );
    let codes: Vec<(u64, &str)> = found.iter().map(|(line, code)| (*line, code.as_str())).collect();
    assert_eq!(
        codes,
        [
            (2, "plain_text_public"),
            (3, "value_invalid"),
            (4, "key_unknown"),
            (5, "value_invalid"),
            (8, "address_not_loopback"),
            (11, "environment_missing"),
            (14, "table_unreadable"),
            (18, "limit_per_unknown"),
            (25, "quota_invalid"),
        ]
    );
}

#[test]
fn what_follows_from_a_mistake_is_not_told_as_another_one() {
    let place = "[place]\nmode = \"fence\"\nregion = \"us\"\n";
    let regions = "[regions.us]\nletter = 5\nupstreams = [\"http://127.0.0.1:9\"]\n";
    let found = told(&format!("[listen]\nplain = [\"127.0.0.1:0\"]\n{regions}{place}"));
    assert_eq!(found, [(4, "value_invalid".to_owned())]);
    let found = told(
        "[listen]\nplian = [\"127.0.0.1:0\"]\nmax_fields = 1\n[upstream]\nservers = \"http://127.0.0.1:9\"\n\
         connect_timeout_milliseconds = 0\n[[limits.policies]]\nname = \"a\"\nper = \"token\"\nquota = \"often\"\n",
    );
    let codes: Vec<(u64, &str)> = found.iter().map(|(line, code)| (*line, code.as_str())).collect();
    assert_eq!(
        codes,
        [
            (2, "key_unknown"),
            (3, "out_of_range"),
            (5, "value_invalid"),
            (6, "out_of_range"),
            (9, "value_invalid"),
            (10, "quota_invalid"),
        ]
    );
}

#[test]
fn more_operations_than_a_worker_can_count_apart_are_warned_of() {
    let with = |operations: usize| {
        let row = |number| {
            format!(
                "[[endpoints.extra]]\noperation = \"o{number}\"\nmethod = \"GET\"\npath = \"/o{number}\"\n"
            )
        };
        let rows: String = (0..operations).map(row).collect();
        told(&format!(
            "[listen]\nplain = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"http://127.0.0.1:9\"]\n{rows}"
        ))
    };
    assert_eq!(with(3_072), []);
    assert_eq!(with(3_073), [(5, "metric_series_many".to_owned())]);
}

#[test]
fn the_caret_stands_under_the_place_whatever_stands_before_it() {
    let folder = folder();
    let configuration = "\u{feff}[listen]\r\n\tplain = [\"127.0.0.1:0\"] # ü\r\n[upstream]\r\n\
                         \tservers = [\"http://127.0.0.1:9\", \"日本語\"]\r\n";
    fs::write(folder.path().join("x.toml"), configuration).unwrap();
    let shown = run(folder.path(), &["check", "--config", "x.toml"]);
    let expected = "\
error[upstream_invalid]: `日本語` is no upstream: it starts with neither `http://` nor `https://`
 --> x.toml:4:35
  |
4 |     servers = [\"http://127.0.0.1:9\", \"日本語\"]
  |                                      ^^^^^^^^ upstream.servers[1]
  |
  = fix: write `http://host:port` or `https://host:port`

tollgate: the configuration has 1 mistake
";
    assert_eq!(text(&shown.stderr), expected);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let folder = folder();
    let found = run(folder.path(), &["check", "--config", "nowhere/tollgate.toml"]);
    assert_eq!(found.status.code(), Some(1));
    let said = text(&found.stderr);
    assert!(
        said.contains("error[file_unreadable]")
            && said.contains("--> nowhere/tollgate.toml\n")
            && said.contains("tollgate init"),
        "{said}"
    );
}

#[test]
fn a_mistake_elsewhere_does_not_stop_a_revocation() {
    let folder = folder();
    let text_of = |servers: &str| format!("[upstream]\nservers = [{servers:?}]\nno_such_key = 1\n");
    fs::write(folder.path().join("x.toml"), text_of("${TOLLGATE_TEST_UNSET}")).unwrap();
    let made = run(folder.path(), &["workspace", "create", "acme", "--config", "x.toml"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    fs::write(folder.path().join("y.toml"), "[tokens]\nprefix = \"${TOLLGATE_TEST_UNSET}\"\n").unwrap();
    assert_eq!(run(folder.path(), &["workspace", "list", "--config", "y.toml"]).status.code(), Some(1));
}

#[test]
fn a_difference_that_callers_notice_is_exit_code_one() {
    let folder = folder();
    let with = |level: &str, quota: &str| {
        format!(
            "listen.plain = [\"127.0.0.1:0\"]\nupstream.servers = [\"http://127.0.0.1:9\"]\nlogs.level = {level:?}\n\
             [[limits.policies]]\nname = \"a\"\nper = [\"token\"]\nquota = {quota:?}\n"
        )
    };
    for (name, text) in [
        ("old.toml", with("info", "60 per minute")),
        ("quiet.toml", with("warn", "60 per minute")),
        ("narrow.toml", with("info", "30 per minute")),
        ("bad.toml", with("info", "often")),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let diff = |new: &str, format: &str| run(folder.path(), &["diff", "old.toml", new, "--format", format]);
    let found = |new: &str| diff(new, "text").status.code();
    assert_eq!((found("old.toml"), found("quiet.toml")), (Some(0), Some(0)));
    assert_eq!((found("narrow.toml"), found("bad.toml")), (Some(1), Some(2)));
    assert_eq!(text(&diff("old.toml", "text").stdout), "no differences\n");
    assert_eq!(
        text(&diff("narrow.toml", "text").stdout),
        "callers notice:\n  limit a: quota 60 per minute (at most 120 in one minute) → \
         30 per minute (at most 60 in one minute)\n"
    );
    let list: Vec<Value> = serde_json::from_slice(&diff("quiet.toml", "json").stdout).unwrap();
    let expected = serde_json::json!({
        "subject": "setting", "name": "logs.level", "property": null,
        "before": "\"info\"", "after": "\"warn\"", "callers": false, "restart": true
    });
    assert_eq!(list, [expected]);
}

#[test]
fn the_page_on_checking_shows_what_the_commands_print() {
    let folder = tempfile::tempdir().unwrap();
    let mut shown = 0;
    for block in blocks("config/docs/check.md") {
        if block.kind == "toml" {
            let name = block.text.lines().next().unwrap().strip_prefix("# ").unwrap();
            fs::write(folder.path().join(name), block.text).unwrap();
        } else if !block.shown.is_empty() && block.text.lines().count() == 1 {
            let arguments: Vec<&str> = block.text.split_whitespace().skip(1).collect();
            let mut command = tollgate(folder.path(), &arguments);
            let output = command.env_remove("US_API").output().unwrap();
            let streams = [text(&output.stdout), text(&output.stderr)];
            // A check tells what it found before it sums up; a comparison lists before it sums up.
            let printed = match arguments[0] {
                "check" => [streams[1], streams[0]].concat(),
                _ => streams.concat(),
            };
            assert_eq!(printed, block.shown, "{}", block.text);
            shown += 1;
        }
    }
    assert_eq!(shown, 3);
}

/// An example with what it leaves to the rest of a configuration.
fn completed(example: &str) -> String {
    let has = |piece: &str| example.contains(piece);
    let regions = ["us", "eu"].map(|region| {
        let letter = &region[..1];
        let url = format!("https://{region}.example");
        format!(
            "[regions.{region}]\nletter = {letter:?}\nbase_url = {url:?}\nupstreams = [\"http://127.0.0.1:9\"]\n"
        )
    });
    let rest = [
        (!has("[listen") && !has("listen."), "[listen]\nplain = [\"127.0.0.1:0\"]\n"),
        (
            !has("[regions") && !has("\"eu\"") && !has("eu =") && !has("[upstream]"),
            "[upstream]\nservers = [\"http://127.0.0.1:9\"]\n",
        ),
        (!has("[regions") && (has("\"eu\"") || has("eu =")), &regions.concat()),
        (
            has("[secret_scanning.relay]"),
            "[secret_scanning]\npath = \"/alerts\"\n[place]\nmode = \"fence\"\nregion = \"us\"\n",
        ),
        (has("shared = ") && !has("[redis]"), "[redis]\naddress = \"redis://127.0.0.1:6379/0\"\n"),
        (has("updateSchema"), "[endpoints]\ntables = [\"endpoints.toml\"]\n"),
    ];
    let rest = rest.iter().filter(|(is_left_out, _)| *is_left_out).map(|(_, text)| *text);
    [example, &rest.collect::<String>()].concat()
}

#[test]
fn every_example_of_the_pages_has_no_mistake() {
    let folder = folder();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    let schema = "schemas/updateSchemaSettingsInSource.json";
    fs::copy(Path::new("config").join(schema), folder.path().join(schema)).unwrap();
    let pages = fs::read_dir("config/docs").unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| !page.ends_with("check.md")).chain([PathBuf::from("config/README.md")]);
    let (mut wrong, mut examples) = (Vec::new(), 0);
    for page in pages {
        for block in blocks(page.to_str().unwrap()).iter().filter(|block| block.kind == "toml") {
            let example = block.text.replace("/etc/tollgate/", "");
            fs::write(folder.path().join("x.toml"), completed(&example)).unwrap();
            let mut check = tollgate(folder.path(), &["check", "--config", "x.toml"]);
            let checked = check.env("STORE_PASSWORD", "x").env("REDIS_PASSWORD", "x").output().unwrap();
            if !checked.status.success() || !checked.stderr.is_empty() {
                wrong.push(format!("{}:\n{}", page.display(), text(&checked.stderr)));
            }
            examples += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(examples > 15, "{examples}");
}
