from pipelines.distill.command import distill as distill
from pipelines.evaluate.command import evaluate as evaluate
from pipelines.explain.command import explain as explain
from pipelines.federate.command import federate as federate
from pipelines.fine_tune.command import fine_tune as fine_tune
from pipelines.recover.command import recover as recover
from pipelines.report.command import report as report
from pipelines.transfer.command import transfer as transfer
