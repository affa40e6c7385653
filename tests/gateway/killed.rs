//! One of three upstreams is killed and restarted again and again under load.
//!
//! The short form takes some 15 seconds; with `TOLLGATE_LONG=1` one is killed every 30 seconds for 10 minutes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, config, request, until};

/// An upstream that can be killed: its sockets close as those of a process that was.
struct Mortal {
    address: SocketAddr,
    life: Mutex<Option<Life>>,
    posts: Arc<Posts>,
}

/// Which POSTs ran, as one bit for each number.
#[derive(Default)]
struct Posts {
    ran: Mutex<Vec<u64>>,
    twice: AtomicU64,
}

impl Posts {
    fn run(&self, number: u64) {
        let (word, bit) = (usize::try_from(number / 64).unwrap(), 1 << (number % 64));
        let mut ran = self.ran.lock().unwrap();
        if ran.len() <= word {
            ran.resize(word + 1, 0);
        }
        if ran[word] & bit != 0 {
            self.twice.fetch_add(1, Ordering::SeqCst);
        }
        ran[word] |= bit;
    }

    fn count(&self) -> u64 {
        self.ran.lock().unwrap().iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

struct Life {
    ends: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepting: thread::JoinHandle<()>,
}

impl Mortal {
    fn start(posts: &Arc<Posts>) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mortal = Self { address, life: Mutex::new(None), posts: Arc::clone(posts) };
        mortal.live();
        mortal
    }

    fn live(&self) {
        let listener = until("the address", || TcpListener::bind(self.address).ok());
        let (ends, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ending, opened, posts) = (Arc::clone(&ends), Arc::clone(&connections), Arc::clone(&self.posts));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                opened.lock().unwrap().push(stream.try_clone().unwrap());
                let posts = Arc::clone(&posts);
                thread::spawn(move || serve(stream, &posts));
            }
        });
        *self.life.lock().unwrap() = Some(Life { ends, connections, accepting });
    }

    fn die(&self) {
        let Life { ends, connections, accepting } = self.life.lock().unwrap().take().unwrap();
        ends.store(true, Ordering::SeqCst);
        // Wakes the thread, which then closes its listener.
        let _ = TcpStream::connect(self.address);
        accepting.join().unwrap();
        for stream in connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Answers one request after the other; each answer leaves in one piece.
fn serve(mut stream: TcpStream, posts: &Posts) {
    stream.set_nodelay(true).unwrap();
    let (mut unread, mut part) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            if let Some(number) = String::from_utf8_lossy(&head).strip_prefix("POST /sources?number=") {
                let number = number.split(' ').next().unwrap().parse().unwrap();
                posts.run(number);
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").is_err() {
                return;
            }
        }
        match stream.read(&mut part) {
            Ok(read) if read > 0 => unread.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
}

#[derive(Default)]
struct Count {
    gets: AtomicU64,
    failed_gets: AtomicU64,
    posts: AtomicU64,
    failed_posts: AtomicU64,
}

/// Sends one request after the other, every fifth a POST with a number of its own.
fn load(address: SocketAddr, token: &str, count: &Count, next: &AtomicU64, stop: &AtomicBool) {
    let mut client = Client::connect(address);
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let (method, all, failed) = if number.is_multiple_of(5) {
            ("POST", &count.posts, &count.failed_posts)
        } else {
            ("GET", &count.gets, &count.failed_gets)
        };
        let answer = client.send(&request(method, &format!("/sources?number={number}"), token, ""));
        all.fetch_add(1, Ordering::SeqCst);
        if answer.status != 200 {
            failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn killing_one_of_three_upstreams_is_hardly_noticed() {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let seconds = |short: u64, long: u64| Duration::from_millis(if is_long { long } else { short });
    let (whole, every, down) = (seconds(15_000, 600_000), seconds(1_500, 30_000), seconds(500, 5_000));
    let runs: Arc<Posts> = Arc::default();
    let upstreams: Vec<Mortal> = (0..3).map(|_| Mortal::start(&runs)).collect();
    let urls: Vec<String> = upstreams.iter().map(|upstream| format!("http://{}", upstream.address)).collect();
    let more = "[[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"10000000 per second\"\n\
                [upstream.ejection]\nseconds = 1\n";
    let text = config(&urls[0], &urls[0], more);
    let text = text.replacen(&format!("[{:?}]", urls[0]), &format!("{urls:?}"), 1);
    // What the gateway writes is kept in this process's memory: ten minutes of lines are gigabytes.
    let text = text.replacen("[logs]\n", "[logs]\naccess = \"off\"\n", 1);
    let gateway = Gateway::start(&text);
    let (_, token) = gateway.token("ws-us", &[]);
    let (count, next, stop) = (Count::default(), AtomicU64::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| load(gateway.address, &token, &count, &next, &stop));
        }
        let started = Instant::now();
        for victim in upstreams.iter().cycle() {
            if started.elapsed() >= whole {
                break;
            }
            thread::sleep(every.saturating_sub(down));
            victim.die();
            thread::sleep(down);
            victim.live();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let (gets, failed_gets) = (read(&count.gets), read(&count.failed_gets));
    let (posts, failed_posts) = (read(&count.posts), read(&count.failed_posts));

    assert!(failed_gets * 10_000 <= gets, "{failed_gets} of {gets} GETs failed");
    assert!(
        (failed_gets + failed_posts) * 1_000 <= (gets + posts) * 2,
        "{failed_posts} of {posts} POSTs failed"
    );
    assert_eq!(runs.twice.load(Ordering::SeqCst), 0, "a POST ran twice");
    assert!(runs.count() >= posts - failed_posts);
}
