//! Members by the classic protocol, from Kafka 2.4 on.

use kavka_tests::kafka::Version;

use crate::broker;
use crate::growth::grow;
use crate::member::Kind;
use crate::members::{one_member, three_members};

const RANGE: Kind = Kind::Classic("range");
const COOPERATIVE: Kind = Kind::Classic("cooperative-sticky");

macro_rules! of_versions {
    ($($name:ident $version:ident $label:literal,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn one_member_reads_commits_and_continues() {
                let Some(cluster) = broker(Version::$version) else { return };
                one_member(&cluster, RANGE);
            }

            #[test]
            fn three_members_share_and_take_over() {
                let Some(cluster) = broker(Version::$version) else { return };
                three_members(&cluster, RANGE);
            }

            #[test]
            fn growth_is_read_at_once_and_nothing_is_lost() {
                let Some(cluster) = broker(Version::$version) else { return };
                grow(&cluster, (1, COOPERATIVE), $label);
                grow(&cluster, (3, COOPERATIVE), $label);
                grow(&cluster, (2, RANGE), $label);
            }
        }
    )*};
}

of_versions! {
    on_2_4 V2_4_1 "classic, 2.4.1",
    on_2_8 V2_8_2 "classic, 2.8.2",
    on_3_9 V3_9_2 "classic, 3.9.2",
    on_4_4 V4_4_0 "classic, 4.4.0",
}
