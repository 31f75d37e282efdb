//! Rules for every text file: nothing names a path of somebody's machine, or a package registry's host.

use super::Fault;

/// Folders that are a machine's, not the project's. In pieces, for this file is checked as well.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/", "home"), concat!("/", "root"), concat!("/", "work"), concat!("/", "tmp")];
const WINDOWS_HOME: &str = concat!("C:", "\\Users");

/// Where packages come from is the user's configuration: mirrors and offline builds must go on working.
const REGISTRY_HOSTS: [&str; 8] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("download.", "pytorch.org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
];

/// Checks one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Fault> {
    // Cargo writes it, with the registry's address in every entry.
    if path == "Cargo.lock" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(folder) = machine_folder(line) {
            let why = "exists on one machine; take it from an argument, or make it relative to the workspace";
            faults.push(Fault::new(path, number, format!("`{folder}` {why}")));
        }
        if let Some(host) = REGISTRY_HOSTS.into_iter().find(|host| line.contains(host)) {
            let why =
                "is a package registry's host; name the package, and leave its source to the user's configuration";
            faults.push(Fault::new(path, number, format!("`{host}` {why}")));
        }
    }
    faults
}

/// A folder counts where a path may begin and ends as a name: not inside `framework/work`, nor in `/workspace`.
fn machine_folder(line: &str) -> Option<&'static str> {
    let inside_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let inside_path = |c: char| inside_name(c) || matches!(c, '.' | '~' | '}' | ')' | '*' | '>');
    MACHINE_FOLDERS.into_iter().chain([WINDOWS_HOME]).find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + folder.len()..]);
            !before.ends_with(inside_path) && !after.starts_with(inside_name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found_where_a_path_begins() {
        let [home, root, work, tmp] = MACHINE_FOLDERS;
        for line in [
            format!("cd {home}/me/robustify"),
            format!("let p = \"{tmp}\";"),
            format!("`{work}/target`"),
            format!("DIR={root}"),
            format!("file://{root}/a"),
            format!("{WINDOWS_HOME}\\me"),
        ] {
            assert_eq!(check("a.md", &format!("fine\n{line}")).len(), 1, "{line}");
        }
        for line in [
            format!("frame{work}/x"),
            format!("{work}space/x"),
            format!("$XDG_CACHE_HOME{tmp}"),
            format!("${{DIR}}{tmp}/x"),
            format!("..{tmp}"),
        ] {
            assert_eq!(check("a.md", &line), [], "{line}");
        }
    }

    #[test]
    fn registry_hosts_are_found_but_not_in_the_lock_file() {
        let line = format!("index = \"sparse+https://{}/\"", REGISTRY_HOSTS[0]);
        let faults = check("deny.toml", &line);
        assert_eq!((faults.len(), faults[0].line), (1, 1));
        assert_eq!(check("Cargo.lock", &line), []);
        assert_eq!(check("README.md", "published on crates.io"), []);
    }
}
