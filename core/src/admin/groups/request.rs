//! How requests about groups are written.

use super::super::texts::{NAME, copy_text, read, text};
use super::super::{Operation as Any, Request};
use super::{GROUP, Operation};
use crate::api::Kind;
use crate::connection::{Draft, Net};
use crate::wire::{
    Encode, Full, Uuid, Writer, consumer_group_describe, delete_groups, describe_groups,
    find_coordinator, list_groups, offset_commit, offset_delete, offset_fetch,
};

impl Request {
    pub(super) fn write_group(
        &self,
        net: &mut Net<'_>,
        draft: &mut Draft,
        kind: Kind,
    ) -> Result<(), Full> {
        let mut room = [0; GROUP];
        let group = text(&net.blocks, &self.texts, 0, &mut room);
        let partitions = match self.operation {
            Any::Group(Operation::Set(partitions) | Operation::Forget(partitions)) => partitions,
            _ => 0,
        };
        match kind {
            Kind::SetOffsets => return self.write_offsets(net, draft, group, partitions as usize),
            Kind::DeleteOffsets => {
                return self.write_partitions(net, draft, group, partitions as usize);
            }
            _ => {}
        }
        let groups = &[group];
        net.write(draft, &mut |w, version| write_about(w, version, kind, groups))
    }

    /// Where the partitions begin in `texts`.
    fn partitions_at(&self, net: &Net<'_>, group: &str) -> usize {
        let mut room = [0; NAME];
        let topic_at = 2 + group.len();
        topic_at + 2 + text(&net.blocks, &self.texts, topic_at, &mut room).len()
    }

    fn write_offsets(
        &self,
        net: &mut Net<'_>,
        draft: &mut Draft,
        group: &str,
        partitions: usize,
    ) -> Result<(), Full> {
        let mut room = [0; NAME];
        let topic = text(&net.blocks, &self.texts, 2 + group.len(), &mut room);
        net.write(draft, &mut |w, version| {
            let head = offset_commit::Head { group, epoch: -1, member: "", instance: None };
            offset_commit::begin(w, version, &head, 1)?;
            offset_commit::topic(w, version, topic, Uuid::ZERO, partitions)
        })?;
        let mut at = self.partitions_at(net, group);
        for _ in 0..partitions {
            let (mut index, mut offset, mut epoch) = ([0; 4], [0; 8], [0; 4]);
            read(&net.blocks, &self.texts, at, &mut index);
            read(&net.blocks, &self.texts, at + 4, &mut offset);
            read(&net.blocks, &self.texts, at + 12, &mut epoch);
            at += 16;
            net.write(draft, &mut |w, version| {
                let (index, epoch) = (i32::from_be_bytes(index), i32::from_be_bytes(epoch));
                offset_commit::partition(w, version, index, i64::from_be_bytes(offset), epoch)
            })?;
            let flexible = |version| version >= offset_commit::FLEXIBLE;
            copy_text(net, draft, &self.texts, &mut at, flexible)?;
            net.write(draft, &mut offset_commit::end)?;
        }
        net.write(draft, &mut |w, version| {
            offset_commit::end(w, version)?;
            offset_commit::end(w, version)
        })
    }

    fn write_partitions(
        &self,
        net: &mut Net<'_>,
        draft: &mut Draft,
        group: &str,
        partitions: usize,
    ) -> Result<(), Full> {
        let mut room = [0; NAME];
        let topic = text(&net.blocks, &self.texts, 2 + group.len(), &mut room);
        net.write(draft, &mut |w, _| {
            offset_delete::begin(w, group, 1)?;
            offset_delete::topic(w, topic, partitions)
        })?;
        let mut at = self.partitions_at(net, group);
        for _ in 0..partitions {
            let mut index = [0; 4];
            read(&net.blocks, &self.texts, at, &mut index);
            at += 4;
            net.write(draft, &mut |w, _| w.raw(&index))?;
        }
        Ok(())
    }
}

/// Writes a request about one group, or about all.
fn write_about(
    w: &mut Writer<'_>,
    version: i16,
    kind: Kind,
    groups: &[&str; 1],
) -> Result<(), Full> {
    let [group] = *groups;
    let include_authorized_operations = false;
    match kind {
        Kind::ListGroups => list_groups::Request { states: &[], types: &[] }.encode(version, w),
        Kind::GroupCoordinator => {
            find_coordinator::Request { key: group, key_type: 0 }.encode(version, w)
        }
        Kind::DescribeConsumer => {
            consumer_group_describe::Request { groups, include_authorized_operations }
                .encode(version, w)
        }
        Kind::DescribeClassic => {
            describe_groups::Request { groups, include_authorized_operations }.encode(version, w)
        }
        Kind::DeleteGroup => delete_groups::Request { groups }.encode(version, w),
        _ => {
            offset_fetch::begin(w, version, group, None, None)?;
            offset_fetch::end(w, version, false)
        }
    }
}
