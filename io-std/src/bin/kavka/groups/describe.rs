//! `kavka groups describe`.

use std::io::Write;

use kavka_std::{GroupDescription, GroupKind, GroupMember};
use serde_json::{Value, json};

use super::places::Places;
use super::text::counted;
use super::{Failure, assigned, lines};
use crate::streams::Out;

pub(super) fn run(
    places: &Places,
    group: &str,
    as_json: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let group = places.wait(places.admin().describe_group(group))?;
    if as_json {
        writeln!(out, "{}", json_of(&group))?;
    } else {
        table(out, &group)?;
    }
    if group.left_out > 0 {
        let left_out = counted(group.left_out as u64, "part");
        lines::notice(&format!("{left_out} of the description did not fit and are left out"));
    }
    Ok(())
}

pub(super) const fn name(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Classic => "Classic",
        GroupKind::Consumer => "Consumer",
    }
}

fn table(out: &mut Out, group: &GroupDescription) -> Result<(), Failure> {
    let members = counted(group.members.len() as u64, "member");
    write!(out, "{}\t{}\t{}\t{members}", group.id, group.state, name(group.kind))?;
    if !group.assignor.is_empty() {
        write!(out, "\tassignor {}", group.assignor)?;
    }
    if let Some((epoch, assignment)) = group.epochs {
        write!(out, "\tepoch {epoch}\tassignment epoch {assignment}")?;
    }
    if !matches!(group.protocol_type.as_str(), "" | "consumer") {
        write!(out, "\tused for {}", group.protocol_type)?;
    }
    writeln!(out)?;
    if group.members.is_empty() {
        return Ok(());
    }
    writeln!(out, "member\tclient\thost\tinstance\tepoch\tpartitions")?;
    for member in &group.members {
        let instance = member.instance.as_deref().unwrap_or("-");
        let epoch = member.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let GroupMember { id, client_id, host, .. } = member;
        let has = assigned(&member.assigned);
        write!(out, "{id}\t{client_id}\t{host}\t{instance}\t{epoch}\t{has}")?;
        if let Some(target) = &member.target {
            write!(out, "\tto become {}", assigned(target))?;
        }
        if member.unreadable {
            write!(out, "\tcannot be read")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn json_of(group: &GroupDescription) -> Value {
    let members: Vec<_> = group.members.iter().map(member_json).collect();
    json!({
        "group": group.id, "state": group.state, "type": name(group.kind),
        "protocol_type": group.protocol_type, "assignor": group.assignor,
        "epoch": group.epochs.map(|(epoch, _)| epoch),
        "assignment_epoch": group.epochs.map(|(_, epoch)| epoch),
        "members": members, "left_out": group.left_out,
    })
}

fn member_json(member: &GroupMember) -> Value {
    let partitions = |list: &Vec<(String, Vec<u32>)>| -> Value {
        list.iter().map(|(topic, list)| json!({ "topic": topic, "partitions": list })).collect()
    };
    json!({
        "member": member.id, "instance": member.instance, "client_id": member.client_id,
        "host": member.host, "rack": member.rack, "epoch": member.epoch,
        "type": member.kind.map(name), "topics": member.topics, "pattern": member.pattern,
        "assigned": partitions(&member.assigned),
        "target": member.target.as_ref().map(partitions),
        "unreadable": member.unreadable,
    })
}
