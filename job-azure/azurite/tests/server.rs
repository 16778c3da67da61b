//! Azurite starts, answers, and never outlives the process that started it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use job_azurite::{Azurite, AzuriteError};

/// `127.0.0.1:10001` of `http://127.0.0.1:10001/devstoreaccount1`.
fn host(url: &str) -> &str {
    url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a URL")
}

/// An answer of Azurite to a request that it refuses.
fn answer(url: &str) -> String {
    let mut stream = TcpStream::connect(host(url)).unwrap();
    let account = url.rsplit('/').next().unwrap();
    write!(stream, "GET /{account}?comp=list HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Processes end in their own time.
fn assert_stops(url: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(host(url)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            _ => assert!(Instant::now() < deadline, "{url} still answers"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_answers_until_it_is_dropped() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    assert!(answer(azurite.url()).contains("Server: Azurite-Queue/"));
    let url = azurite.url().to_owned();
    drop(azurite);
    let refused = TcpStream::connect(host(&url)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_panic_stops_it() {
    let thread = thread::spawn(|| {
        let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
        std::panic::panic_any(azurite.url().to_owned());
    });
    let url = thread.join().unwrap_err().downcast::<String>().unwrap();
    assert_stops(&url);
}

#[test]
fn two_are_separate() {
    let [one, two] = [(); 2].map(|()| Azurite::start().unwrap_or_else(|error| panic!("{error}")));
    assert_ne!(one.url(), two.url());
    assert_ne!(one.pid(), two.pid());
    drop(one);
    assert!(answer(two.url()).contains("Server: Azurite-Queue/"));
}

#[test]
fn the_shared_one_is_one() {
    let urls = [(); 4].map(|()| thread::spawn(|| Azurite::shared().url()));
    let urls = urls.map(|thread| thread.join().unwrap());
    assert!(urls.iter().all(|url| *url == urls[0]));
    assert!(answer(urls[0]).contains("Server: Azurite-Queue/"));
}

#[test]
fn a_taken_port_is_named() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let port = host(azurite.url()).rsplit(':').next().unwrap().parse().unwrap();
    match Azurite::start_on(port) {
        Err(AzuriteError::Start { output }) => assert!(output.contains("EADDRINUSE"), "{output}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_ends_with_a_process_that_is_killed() {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_azurite"))
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let (mut url, mut rest) = (String::new(), String::new());
    // Both lines: were the pipe closed after the first, it could end over the second.
    let mut output = BufReader::new(parent.stdout.take().unwrap());
    output.read_line(&mut url).unwrap();
    output.read_line(&mut rest).unwrap();
    assert!(rest.starts_with("DefaultEndpointsProtocol=http;"), "{rest}");
    let url = url.trim();
    assert!(answer(url).contains("Server: Azurite-Queue/"));
    // SIGKILL, where there are signals.
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_stops(url);
}
