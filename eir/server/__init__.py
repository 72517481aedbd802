"""The services, as thin shells: bytes in, a decision asked for, bytes out.

    core node ──► check ──► Checker ──► verdict
    registry ──► sync ──► Store (writer thread) ──► published
    operator ──► enforcement ──► Store, Checker
    call centre, public ──► inquiry ──► Inquirer (threads of its own)

`listeners` are the two ports, `methods` what they have, `health` its health and
reflection, `state` what the services share with the daemon.
"""
