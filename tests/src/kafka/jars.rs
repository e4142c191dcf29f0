//! The jars of each Kafka version, copied once from Maven Central into a cache folder.

use core::fmt;
use core::str::FromStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A Kafka version that the launcher can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 4.4.0, KRaft.
    V4_4_0,
    /// 3.9.2, KRaft.
    V3_9_2,
    /// 3.2.3 with ZooKeeper.
    V3_2_3,
    /// 2.8.2 with ZooKeeper.
    V2_8_2,
    /// 2.4.1 with ZooKeeper.
    V2_4_1,
}

impl Version {
    /// All versions, newest first.
    pub const ALL: [Self; 5] =
        [Self::V4_4_0, Self::V3_9_2, Self::V3_2_3, Self::V2_8_2, Self::V2_4_1];

    /// Returns the version as on Maven Central, such as `4.4.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4_4_0 => "4.4.0",
            Self::V3_9_2 => "3.9.2",
            Self::V3_2_3 => "3.2.3",
            Self::V2_8_2 => "2.8.2",
            Self::V2_4_1 => "2.4.1",
        }
    }

    /// Returns whether it runs without ZooKeeper.
    pub fn is_kraft(self) -> bool {
        matches!(self, Self::V4_4_0 | Self::V3_9_2)
    }

    pub(super) fn has_share_groups(self) -> bool {
        self == Self::V4_4_0
    }

    /// Returns the artifact; Kafka's build for Scala 2.13 is complete from 2.5 on.
    fn artifact(self) -> &'static str {
        if self == Self::V2_4_1 { "kafka_2.12" } else { "kafka_2.13" }
    }

    /// Returns what binds slf4j to a logger: (group, artifact, version). No broker includes one.
    fn log_binding(self) -> [&'static str; 3] {
        if self == Self::V4_4_0 {
            ["org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"]
        } else {
            ["org.slf4j", "slf4j-reload4j", "1.7.36"]
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|version| version.as_str() == text);
        found.ok_or_else(|| format!("unknown Kafka version {text}: one of {known}"))
    }
}

/// Returns the cache folder: `KAVKA_KAFKA_HOME`, else `target/kafka` of the workspace.
pub fn home() -> PathBuf {
    std::env::var_os("KAVKA_KAFKA_HOME").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kafka"),
        PathBuf::from,
    )
}

fn lib(version: Version) -> PathBuf {
    home().join(format!("lib-{version}"))
}

/// Returns whether the jars are in the cache already.
pub fn is_fetched(version: Version) -> bool {
    lib(version).is_dir()
}

/// Returns the folder with all jars of `version`, fetched by Maven if missing.
///
/// # Errors
/// When Maven cannot run, or fails (its output is in the error).
pub fn fetch(version: Version) -> io::Result<PathBuf> {
    // Tests of one process share its folder.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lib = lib(version);
    if lib.is_dir() {
        return Ok(lib);
    }
    // Renamed when complete, so that an interrupted fetch is never mistaken for a complete one.
    let work = home().join(format!("fetch-{version}-{}", std::process::id()));
    let jars = work.join("jars");
    fs::create_dir_all(&jars)?;
    fs::write(work.join("pom.xml"), pom(version))?;
    let output = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
        ])
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .current_dir(&work)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(io::Error::other(format!("mvn for Kafka {version} failed: {text}")));
    }
    // Another process may have been faster: its jars are the same.
    if let Err(error) = fs::rename(&jars, &lib)
        && !lib.is_dir()
    {
        return Err(error);
    }
    let _ = fs::remove_dir_all(&work);
    Ok(lib)
}

fn pom(version: Version) -> String {
    let dependency = |[group, artifact, version]: [&str; 3]| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>kavka</groupId>\
         <artifactId>brokers</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}{}</dependencies></project>",
        dependency(["org.apache.kafka", version.artifact(), version.as_str()]),
        dependency(version.log_binding()),
    )
}
