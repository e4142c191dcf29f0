import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;

/** Prints what a group has committed: topic, partition, offset, metadata. */
public class GroupOffsets {
    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(config)) {
            admin.listConsumerGroupOffsets(args[1]).partitionsToOffsetAndMetadata().get()
                .forEach((at, offset) -> System.out.println(at.topic() + "\t" + at.partition()
                    + "\t" + offset.offset() + "\t" + offset.metadata()));
        }
    }
}
