//! A PostgreSQL server of a test's own: Debian's package, a new cluster in a temporary folder, a private port.
//!
//! PostgreSQL refuses to run as root, so as root it runs as `nobody`. It ends with the test.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// `nobody` on every Linux.
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server, or one that was stopped and can be started again.
pub(crate) struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Server {
    /// Makes a cluster and starts it. Local connections need no password; those as `guarded` need one.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self {
            programs: programs(),
            folder,
            port,
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        let data = server.data();
        let arguments =
            ["--auth=trust", "--username=tollgate", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"];
        let made = server.program("initdb").args(arguments).arg("--pgdata").arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(
            data.join("pg_hba.conf"),
            "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n",
        )
        .unwrap();
        server.certify(&data);
        server.go();
        server
    }

    /// Gives it a certificate for `localhost`, signed by itself.
    fn certify(&self, data: &Path) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (data.join("server.crt"), data.join("server.key"));
        std::fs::write(self.roots_file(), made.cert.pem()).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            for file in [certificate, key] {
                chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
    }

    /// The certificate that the server's is checked against.
    pub(crate) fn roots_file(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) fn go(&self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let port = self.port.to_string();
        let child = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"])
            .args(["-c", "fsync=on", "-c", "ssl=on", "-c", "unix_socket_directories="])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let asked =
            self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
        asked.unwrap().success()
    }

    /// Ends it as its operator would; connections are closed.
    pub(crate) fn stop(&self) {
        self.end("INT");
    }

    /// Ends it as a crash would: nothing is finished, and the next start recovers.
    pub(crate) fn crash(&self) {
        self.end("QUIT");
    }

    fn end(&self, signal: &str) {
        let Some(mut child) = self.process.lock().unwrap().take() else { return };
        let told = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        if !told.is_ok_and(|told| told.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://tollgate@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the owner of everything and answers with the rows, a line each.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let ran = self
            .program("psql")
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url(database)])
            .output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("INT");
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The newest installed version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path())
        .filter(|version| version.join("bin/initdb").exists())
        .max_by_key(|version| number(version));
    let Some(newest) = newest else {
        panic!(
            "PostgreSQL's server is missing: apt-get install postgresql, or leave these tests out as tests/run does"
        )
    };
    newest.join("bin")
}

fn number(version: &Path) -> u32 {
    version.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}
