//! Memory that is freed stays with the process.
//!
//! A forward allocates and frees buffers of megabytes; glibc gives such buffers back to the kernel at once and then pays
//! page faults for every new one, which costs a third of the speed of a small model.

/// Tells glibc's allocator to keep large freed blocks; does nothing with another C library.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn keep_freed_memory() {
    // SAFETY: `mallopt` takes two integers, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Tells glibc's allocator to keep large freed blocks; does nothing with another C library.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_memory() {}
