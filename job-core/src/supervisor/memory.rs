//! How much memory a process has.

/// Its resident memory in bytes; `None` if nobody can say, such as when it is gone.
#[cfg(target_os = "linux")]
pub(super) async fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kibibytes(line.trim().strip_suffix("kB")?)
}

/// Its resident memory in bytes; `None` if nobody can say, such as when it is gone.
#[cfg(not(target_os = "linux"))]
pub(super) async fn resident(pid: u32) -> Option<u64> {
    of_ps(pid).await
}

/// By the program that POSIX has for it.
#[cfg(any(test, not(target_os = "linux")))]
async fn of_ps(pid: u32) -> Option<u64> {
    let mut ps = tokio::process::Command::new("ps");
    ps.args(["-o", "rss=", "-p", &pid.to_string()]).kill_on_drop(true);
    kibibytes(std::str::from_utf8(&ps.output().await.ok()?.stdout).ok()?)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ways_tell_what_this_process_has() {
        let own = std::process::id();
        let known = resident(own).await.unwrap();
        assert!((1 << 20..1 << 40).contains(&known), "{known}");
        if let Some(of_ps) = of_ps(own).await {
            assert!(of_ps > known / 4 && of_ps < known * 4, "{of_ps} and {known}");
        }
        assert_eq!(resident(u32::MAX >> 1).await, None);
    }
}
