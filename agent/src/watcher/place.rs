//! Where the watch for a volume goes: on its directory, or on the nearest ancestor while that isn't there.

use super::*;

impl Watcher {
    /// The volumes that are polled.
    pub(crate) fn polled(&self) -> impl Iterator<Item = &VolumeRef> {
        self.polled.iter()
    }

    /// Whether any volume's first publication is awaited in a watched directory.
    pub(crate) fn awaits_publication(&self) -> bool {
        !self.unpublished.is_empty()
    }

    /// Something of a volume has changed that [`Self::polled`] and [`Self::awaits_publication`] tell of. They are asked at each
    /// turn.
    pub(super) fn account(&mut self, name: &VolumeRef) {
        let volume = self.volumes.get(name);
        let is_polled = volume.is_some_and(|volume| volume.follow == Follow::Polled);
        let is_unpublished =
            volume.is_some_and(|volume| matches!(volume.follow, Follow::Watched { .. }) && !volume.published);
        for (is_in, all) in [(is_polled, &mut self.polled), (is_unpublished, &mut self.unpublished)] {
            if is_in {
                all.insert(name.clone());
            } else {
                all.remove(name);
            }
        }
    }

    /// Watches a volume's directory or its nearest ancestor, and asks for a listing.
    pub(super) fn place(&mut self, name: &VolumeRef, now: Time) {
        self.follow_again(name, now);
        self.sights.push_back(Sight::List(name.clone()));
    }

    /// Watches a volume's directory or its nearest ancestor, where it may be watched already. Whether it is followed in
    /// another way than before. That the directory of before isn't there any more is seen here, whoever noticed it.
    pub(super) fn follow_again(&mut self, name: &VolumeRef, now: Time) -> bool {
        let Some(volume) = self.volumes.get(name) else { return false };
        let (path, before) = (volume.path.clone(), volume.follow.clone());
        self.unplaced.remove(name);
        let follow = self.follow(name, &path);
        let watched = |follow: &Follow| match follow {
            Follow::Watched { wd, .. } => Some(wd.clone()),
            Follow::Awaited { .. } | Follow::Polled | Follow::Unplaced => None,
        };
        let is_same = watched(&before).is_some() && watched(&before) == watched(&follow);
        let has_changed = before != follow;
        if !is_same {
            if let Some(volume) = self.volumes.get_mut(name) {
                volume.made = None;
            }
            if has_changed {
                if watched(&before).is_some() {
                    self.sights.push_back(Sight::Event(Event::TornDown(name.clone(), now)));
                }
                self.unfollow(name, before);
            }
        }
        if let Some(volume) = self.volumes.get_mut(name) {
            volume.follow = follow;
        }
        self.account(name);
        has_changed
    }

    fn follow(&mut self, name: &VolumeRef, path: &Path) -> Follow {
        loop {
            match self.add_volume_watch(name, path) {
                Ok(Some((wd, dir))) => return Follow::Watched { wd, dir },
                Ok(None) => continue,
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => return self.poll_instead(name, errno),
            }
            match self.add_ancestor_watch(name, path) {
                Ok(Some(ancestor)) => return Follow::Awaited { ancestor },
                Ok(None) => {}
                Err(errno) => return self.poll_instead(name, errno),
            }
        }
    }

    /// Watches a volume's directory; `None` if another one came to stand there meanwhile.
    fn add_volume_watch(
        &mut self,
        name: &VolumeRef,
        path: &Path,
    ) -> Result<Option<(WatchDescriptor, DirId)>, Errno> {
        let mask = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::DONT_FOLLOW;
        let before = look(path).map_err(errno)?.ok_or(Errno::ENOENT)?;
        let wd = self.add_watch(path, mask)?;
        self.watches.insert(wd.clone(), Subject::Volume(name.clone()));
        if dir_id(path) != Some(before) {
            self.drop_watch(wd);
            return Ok(None);
        }
        Ok(Some((wd, before)))
    }

    /// Watches the nearest directory above that exists; `None` if the next one on the way appeared meanwhile.
    fn add_ancestor_watch(
        &mut self,
        name: &VolumeRef,
        path: &Path,
    ) -> Result<Option<WatchDescriptor>, Errno> {
        let mask = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut missing = path;
        for ancestor in path.ancestors().skip(1) {
            match self.add_watch(ancestor, mask) {
                Ok(wd) => {
                    let watch =
                        self.watches.entry(wd.clone()).or_insert_with(|| Subject::Ancestor(BTreeSet::new()));
                    if let Subject::Ancestor(awaiting) = watch {
                        awaiting.insert(name.clone());
                    }
                    // A link in the volume's own place is no volume, and is not followed.
                    let appeared = if missing == path { dir_id(path).is_some() } else { missing.is_dir() };
                    if appeared {
                        self.unfollow(name, Follow::Awaited { ancestor: wd });
                        return Ok(None);
                    }
                    return Ok(Some(wd));
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => missing = ancestor,
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ENOENT)
    }

    fn poll_instead(&mut self, name: &VolumeRef, errno: Errno) -> Follow {
        let Some(volume) = self.volumes.get_mut(name) else { return Follow::Polled };
        let path = volume.path.display();
        if self.inotify.is_none() {
            // That was said when there was none.
        } else if matches!(errno, Errno::EACCES | Errno::EPERM) {
            if !std::mem::replace(&mut self.warned_refused, true) {
                tracing::warn!(
                    %path,
                    error = %io::Error::from(errno),
                    "the agent isn't allowed to watch a volume (SELinux, AppArmor or file permissions): such volumes are \
                     polled each second"
                );
            }
        } else if errno == Errno::ENOSPC {
            if !std::mem::replace(&mut self.warned_limit, true) {
                tracing::warn!(
                    %path,
                    "the limit of inotify watches is reached (fs.inotify.max_user_watches): volumes are polled each \
                     second"
                );
            }
        } else if !std::mem::replace(&mut volume.warned, true) {
            tracing::warn!(%path, error = %io::Error::from(errno), "a volume can't be watched: it is polled each second");
        }
        Follow::Polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_a_volumes_place_is_awaited_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let parent = root
            .path()
            .join("pods")
            .join(pod.as_str())
            .join("volumes")
            .join(VolumeKind::ConfigMap.directory());
        std::fs::create_dir_all(&parent).unwrap();
        std::os::unix::fs::symlink("/", parent.join("config")).unwrap();
        let mut watcher = Watcher::new(root.path(), OwnReads::default());
        watcher.watch_pod(&pod, &[("config".into(), VolumeKind::ConfigMap)]);
        watcher.place_some(Time::default());
        let volume = VolumeRef { pod, volume: "config".into() };
        assert!(matches!(watcher.volumes[&volume].follow, Follow::Awaited { .. }));
    }
}
