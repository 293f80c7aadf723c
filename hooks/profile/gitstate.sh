# shellcheck shell=sh
# Written by `gitstate prepare`. In a chroot, root's prompt begins with the tree's name, line 1 of
# /etc/gitstate/about. It does nothing on a booted machine, nor for other users.
if [ -n "${PS1-}" ] && [ -r /etc/gitstate/about ] && [ "$(id -u)" = 0 ] &&
    [ "$(stat -Lc %d:%i / 2>/dev/null)" != "$(stat -Lc %d:%i /proc/1/root/. 2>/dev/null)" ]; then
    gitstate_name=
    IFS= read -r gitstate_name </etc/gitstate/about || :
    case $gitstate_name in
        '' | *[!A-Za-z0-9._+/-]*) ;;
        *)
            # Debian's prompt shows this variable; other prompts get the name in front.
            debian_chroot=${debian_chroot:-$gitstate_name}
            case $PS1 in
                *debian_chroot* | "($gitstate_name)"*) ;;
                *) PS1="($gitstate_name) $PS1" ;;
            esac
            ;;
    esac
    unset gitstate_name
fi
