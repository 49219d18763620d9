"""What an edit did, as numbers: functions of tensors, and torchmetrics classes over them."""
