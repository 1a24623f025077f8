"""sacctmgr show: one account, `hsd`, of which everyone is a member."""

import getpass

from fake_slurm import faults

OFF = (
    "You are not running a supported accounting_storage plugin\n"
    "Only 'accounting_storage/slurmdbd' is supported."
)


def main(argv: list[str]) -> None:
    """Print an entity's rows; only the parsable form is known here."""
    faults.meet("sacctmgr")
    if "disabled" in faults.of("sacct"):
        faults.fail(OFF)
    words = [word for word in argv if not word.startswith("-")]
    if words[:1] not in (["show"], ["list"]) or len(words) < 2:
        faults.fail("sacctmgr: error: a fake sacctmgr only shows")
    every = rows = _rows(words[1].lower())
    user = next((word[5:] for word in words if word.startswith("user=")), None)
    rows = [row for row in rows if user is None or row["User"] == user]
    wanted = next(
        (word[7:].split(",") for word in words if word.startswith("format=")), [*every[0]]
    )
    names = [
        next((known for known in every[0] if known.lower() == name.lower()), "") for name in wanted
    ]
    if not all(names):
        faults.fail(f' Unknown field "{wanted[names.index("")]}"')
    if not {"-n", "--noheader", "-nP", "-Pn"} & set(argv):
        print("|".join(names))
    for row in rows:
        print("|".join(row[name] for name in names))


def _rows(entity: str) -> list[dict[str, str]]:
    user = getpass.getuser()
    said = {name: str(most) for name, most in faults.limits().items()}
    most = {"MaxSubmitJobs": "", "GrpSubmitJobs": "", "DefaultQOS": ""}
    one = {"Cluster": "fake", "Account": "hsd", "User": "", "Partition": "", "QOS": "normal"}
    if entity.startswith("assoc"):
        own = one | most | {"User": user, "Def QOS": ""}
        return [one | most | {"Def QOS": ""}, own | {k: v for k, v in said.items() if k in most}]
    if entity.startswith("user"):
        return [{"User": user, "Def Acct": "hsd", "DefaultAccount": "hsd", "Admin": "None"}]
    if entity.startswith("account"):
        return [{"Account": "hsd", "Descr": "hsd", "Org": "hsd"}]
    if entity == "qos":
        per_user = said.get("MaxSubmitJobsPerUser", "")
        limits = {"MaxSubmitJobsPerUser": per_user, "MaxSubmitJobsPerAccount": ""}
        row = {"Name": "normal", "Priority": "0", "MaxWall": "", "MaxTRES": "", "Flags": ""}
        return [row | limits | {"GrpSubmitJobs": ""}]
    if entity.startswith("cluster"):
        return [{"Cluster": "fake", "ControlHost": "127.0.0.1", "ControlPort": "6817"}]
    faults.fail(f"Invalid option {entity}")
    return []
